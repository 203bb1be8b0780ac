"""Levels of live audio, in frames of 20 ms of the source, and what counts as quiet among them.

The frames lie on a grid that begins with the stream, so a level does not depend on how the audio
was cut into calls. Levels are small whole numbers for the same reason: sums of the same samples in
another order could differ in their last bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import Samples
from asr_backend.segmentation.pauses import FRAMES_A_SECOND, MIN_RANGE_DB, QUIET_SHARE

STEPS_A_DB = 2
"""A level is a whole number of half decibels."""
LOWEST_DB = -80.0
"""Level 0: less than the last bit of 16-bit audio. Digital silence is no quieter, else a few frames
of it would make every room sound loud."""
HISTORY_FRAMES = 15 * FRAMES_A_SECOND
"""Frames whose levels decide what is quiet: those of the last 15 s."""
MIN_RANGE = round(MIN_RANGE_DB * STEPS_A_DB)
LEVELS = 256

Levels = npt.NDArray[np.uint8]
"""One level for each frame: half decibels above LOWEST_DB, 0 to 255."""


def first_sample(frame: int, rate_hz: int) -> int:
    """The first sample of a frame, both counted from the start of the stream."""
    return frame * rate_hz // FRAMES_A_SECOND


def frame_from(sample: int, rate_hz: int) -> int:
    """The first frame that begins at this sample or later."""
    return -(-sample * FRAMES_A_SECOND // rate_hz)


def frames_until(sample: int, rate_hz: int) -> int:
    """The number of frames that end at this sample or earlier."""
    return ((sample + 1) * FRAMES_A_SECOND - 1) // rate_hz


def at_frame(sample: float, rate_hz: int) -> int:
    """The sample nearest to this one at which a frame begins."""
    return first_sample(round(sample * FRAMES_A_SECOND / rate_hz), rate_hz)


def frame_levels(samples: Samples, *, position: int, rate_hz: int) -> Levels:
    """The levels of all whole frames in a piece of a stream.

    Args:
        samples: float32 [samples], mono, finite.
        position: of the first sample, from the start of the stream.
        rate_hz: samples per second.

    Returns:
        uint8 [frames]; the first one is frame `frame_from(position, rate_hz)`.
    """
    first = frame_from(position, rate_hz)
    last = frames_until(position + len(samples), rate_hz)
    if last <= first:
        return np.zeros(0, np.uint8)
    edges = np.arange(first, last + 1, dtype=np.int64) * rate_hz // FRAMES_A_SECOND - position
    wide = samples[edges[0] : edges[-1]].astype(np.float64)
    starts, counts = edges[:-1] - edges[0], np.diff(edges)
    means = np.add.reduceat(wide, starts) / counts
    wide -= np.repeat(means, counts)
    variances = np.add.reduceat(wide * wide, starts) / counts
    levels_db = 10 * np.log10(np.maximum(variances, 10 ** (LOWEST_DB / 10)))
    steps = np.round(STEPS_A_DB * (levels_db - LOWEST_DB))
    levels: Levels = steps.clip(0, LEVELS - 1).astype(np.uint8)
    return levels


def ranges(history: Levels, levels: Levels, *, first: int) -> tuple[list[int], list[int]]:
    """Quantiles 0.1 and 0.98 of the last HISTORY_FRAMES levels, at each frame.

    Args:
        history: uint8, the levels before `levels`.
        levels: uint8, the levels that follow.
        first: the first of `levels` to have its quantiles.

    Returns:
        Floor and top at each frame of `levels` from `first` on. That frame's own level is the last
        one counted.
    """
    before = np.concatenate([history, levels[:first]])[-HISTORY_FRAMES:]
    series = np.concatenate([before, levels[first:]])
    counted = np.zeros((len(series) + 1, LEVELS), np.int16)
    counted[np.arange(1, len(series) + 1), series] = 1
    np.cumsum(counted, axis=0, out=counted)
    ends = np.arange(len(before) + 1, len(series) + 1)
    starts = (ends - HISTORY_FRAMES).clip(min=0)
    below = np.cumsum(counted[ends] - counted[starts], axis=1)
    ranks = ends - starts - 1
    floors, tops = (
        (below > (ranks * tenths // 100)[:, np.newaxis]).argmax(axis=1).tolist()
        for tenths in (10, 98)
    )
    return floors, tops


def threshold(floor: int, top: int) -> int:
    """Ten times the level below which a frame is quiet, for a floor and a top of MIN_RANGE."""
    return 10 * floor + round(10 * QUIET_SHARE) * (top - floor)
