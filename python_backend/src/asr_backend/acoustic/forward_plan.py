"""Decides from the lengths of windows which of them share a forward."""

from __future__ import annotations

from collections.abc import Sequence

MAX_BATCH_AUDIO_S = {"cpu": 30.0, "cuda": 320.0}
"""Default budget of one forward by kind of device, in seconds of audio including padding."""

FORWARD_START_S = {"cpu": 0.5, "cuda": 20.0}
"""Fixed cost of a forward by kind of device, in seconds of audio."""

MAX_WASTE = 0.2
"""Maximum share of a forward that is padding, 0 to 1."""

FREE_WASTE = 16_000
"""Samples of padding that every forward may have, whatever their share."""


def plan_forwards(
    lengths: Sequence[int], *, max_padded: int, start: int, max_windows: int | None = None
) -> list[list[int]]:
    """Split windows into padded forwards at the lowest total cost, the shortest windows first.

    Args:
        lengths: samples of each window.
        max_padded: maximum samples of one forward including padding, that is, windows times the
            longest. A longer window runs alone.
        start: fixed cost of a forward, in samples.
        max_windows: maximum windows of one forward; None for no limit.

    Returns:
        The forwards in the order to run them, each a list of indices into `lengths`. Every window
        is in exactly one; padding is at most MAX_WASTE of a forward, or at most FREE_WASTE.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # For each number of first windows: the lowest cost, and where the last forward begins.
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
