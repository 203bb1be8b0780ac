"""Where nobody speaks: a rule of energy, enough to place a cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_backend.checkpoint import SAMPLE_RATE_HZ

FRAME_SAMPLES = SAMPLE_RATE_HZ // 50
SHORTEST_S = 0.3
"""Shorter ones are within words: the closure of a stop lasts up to 0.15 s."""
LONG_ENOUGH_S = 0.6
"""Pauses from here on are as good as each other."""
MIN_RANGE_DB = 12.0
"""From quiet to loud (quantiles 0.1 and 0.98); audio with less has no pause that energy shows."""
QUIET_SHARE = 0.3
"""Up to this share of that range a frame is quiet."""


def last_pause(samples: npt.NDArray[np.float32], *, first: int) -> tuple[int, int] | None:
    """The best pause to cut in: of the long ones the last, else the longest.

    Args:
        samples: float32 [samples], 16 kHz; the levels of all of it say what is quiet.
        first: no pause that begins before this sample is looked for.

    Returns:
        Its first sample and the one after its last, or None where there is none of SHORTEST_S.
    """
    count = len(samples) // FRAME_SAMPLES
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).astype(np.float64)
    if not count:
        return None
    levels = 10 * np.log10(frames.var(axis=1) + 1e-10)
    floor, top = np.quantile(levels, (0.1, 0.98))
    if top - floor < MIN_RANGE_DB:
        return None
    begin = -(-first // FRAME_SAMPLES)
    quiet = levels[begin:] < floor + QUIET_SHARE * (top - floor)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    lengths = ends - starts
    if not len(lengths) or lengths.max() * FRAME_SAMPLES < SHORTEST_S * SAMPLE_RATE_HZ:
        return None
    enough = np.minimum(lengths, round(LONG_ENOUGH_S * SAMPLE_RATE_HZ / FRAME_SAMPLES))
    best = np.flatnonzero(enough == enough.max())[-1]
    start, end = (int(edge[best] + begin) * FRAME_SAMPLES for edge in (starts, ends))
    return start, end
