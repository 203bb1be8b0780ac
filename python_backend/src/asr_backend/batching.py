"""Which windows share a forward: a plan made from their lengths alone."""

from __future__ import annotations

from collections.abc import Sequence

MAX_BATCH_AUDIO_S = {"cpu": 30.0, "cuda": 320.0}
"""Default budget of one forward in seconds of audio, padding counted, by kind of device."""

MAX_WASTE = 0.2
"""The share of a forward that may be padding."""

FREE_WASTE = 16_000
"""Samples of padding that a forward may always hold: less work than another forward's start."""


def plan_forwards(
    lengths: Sequence[int], *, max_padded: int, max_windows: int | None = None
) -> list[list[int]]:
    """Split windows into padded forwards, the shortest first.

    Args:
        lengths: samples of each window.
        max_padded: the most samples of one forward, its padding counted: windows times the
            longest. A window that is longer than that goes alone.
        max_windows: the most windows of one forward; None for no such bound.

    Returns:
        The forwards in the order to run them, each a list of indices into `lengths`. Every window
        is in exactly one; padding is at most MAX_WASTE of a forward, or at most FREE_WASTE.
    """
    forwards: list[list[int]] = []
    own = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[index]
        padded = length * (len(forwards[-1]) + 1) if forwards else 0
        waste = padded - own - length
        full = not forwards or len(forwards[-1]) == max_windows
        if not full and padded <= max_padded and waste <= max(MAX_WASTE * padded, FREE_WASTE):
            forwards[-1].append(index)
            own += length
        else:
            forwards.append([index])
            own = length
    return forwards
