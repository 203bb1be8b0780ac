"""Which windows share a forward: a plan made from their lengths alone."""

from __future__ import annotations

from collections.abc import Sequence

MAX_BATCH_AUDIO_S = {"cpu": 30.0, "cuda": 320.0}
"""Default budget of one forward in seconds of audio, padding counted, by kind of device."""

FORWARD_START_S = {"cpu": 0.5, "cuda": 20.0}
"""What a forward costs besides its audio, in seconds of audio, by kind of device."""

MAX_WASTE = 0.2
"""The share of a forward that may be padding."""

FREE_WASTE = 16_000
"""Samples of padding that a forward may always hold."""


def plan_forwards(
    lengths: Sequence[int], *, max_padded: int, start: int, max_windows: int | None = None
) -> list[list[int]]:
    """Split windows into the padded forwards that cost least, the shortest windows first.

    Args:
        lengths: samples of each window.
        max_padded: the most samples of one forward, its padding counted: windows times the
            longest. A window that is longer than that goes alone.
        start: samples that a forward costs besides its padded ones.
        max_windows: the most windows of one forward; None for no such bound.

    Returns:
        The forwards in the order to run them, each a list of indices into `lengths`. Every window
        is in exactly one; padding is at most MAX_WASTE of a forward, or at most FREE_WASTE.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # The least cost of the first windows, and where the last of their forwards begins.
    cheapest = [(0, 0)]
    for end, last in enumerate(order, 1):
        cost, begin = cheapest[-1][0] + start + lengths[last], end - 1
        audio = lengths[last]
        for earlier in range(end - 2, -1, -1):
            audio += lengths[order[earlier]]
            windows = end - earlier
            padded = windows * lengths[last]
            if padded > max_padded or (max_windows is not None and windows > max_windows):
                break
            together = cheapest[earlier][0] + start + padded
            if together < cost and padded - audio <= max(MAX_WASTE * padded, FREE_WASTE):
                cost, begin = together, earlier
        cheapest.append((cost, begin))
    forwards: list[list[int]] = []
    end = len(order)
    while end:
        begin = cheapest[end][1]
        forwards.append(order[begin:end])
        end = begin
    return forwards[::-1]
