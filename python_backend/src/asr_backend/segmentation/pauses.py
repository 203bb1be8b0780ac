"""Finds pauses in speech by their energy, which is enough to place a cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import SAMPLE_RATE_HZ

FRAMES_A_SECOND = 50
FRAME_SAMPLES = SAMPLE_RATE_HZ // FRAMES_A_SECOND
MIN_PAUSE_S = 0.3
"""Shorter pauses may be inside a word: the closure of a stop lasts up to 0.15 s."""
GOOD_PAUSE_S = 0.4
"""Pauses of this length or more are between phrases; none of them is better than another."""
MIN_RANGE_DB = 12.0
"""Minimum range of levels, from quantile 0.1 to 0.98. With less, energy shows no pause."""
QUIET_SHARE = 0.3
"""A frame is quiet up to this share of that range."""
SILENT_DB = 6.0
"""A frame is silent up to this level above the quiet end of that range: no word is audible."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A run of quiet frames, in samples from the start of the searched audio."""

    start: int
    end: int
    """The sample after its last."""
    silence: tuple[int, int]
    """Start and end of its longest run of silent frames; twice its middle if it has none."""


def find_pause(samples: npt.NDArray[np.float32], *, first: int) -> Pause | None:
    """Find the best pause to cut in: the first good one, else the longest in the second half.

    Args:
        samples: float32 [samples], 16 kHz; the range of its levels decides what is quiet.
        first: the first sample that may belong to a pause.

    Returns:
        None if there is no pause of at least MIN_PAUSE_S.
    """
    count = len(samples) // FRAME_SAMPLES
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).astype(np.float64)
    if not count:
        return None
    levels = 10 * np.log10(frames.var(axis=1) + 1e-10)
    floor, top = np.quantile(levels, (0.1, 0.98))
    if top - floor < MIN_RANGE_DB:
        return None
    quiet = _runs(levels < floor + QUIET_SHARE * (top - floor), first=-(-first // FRAME_SAMPLES))
    good = [run for run in quiet if _seconds(run) >= GOOD_PAUSE_S]
    late = [run for run in quiet if _seconds(run) >= MIN_PAUSE_S and run[1] > count // 2]
    if not good and not late:
        return None
    start, end = good[0] if good else max(late, key=_seconds)
    middle = (start + end) // 2
    silences = _runs(levels[:end] < floor + SILENT_DB, first=start)
    silence = max(silences, key=_seconds, default=(middle, middle))
    return Pause(
        start=start * FRAME_SAMPLES,
        end=end * FRAME_SAMPLES,
        silence=(silence[0] * FRAME_SAMPLES, silence[1] * FRAME_SAMPLES),
    )


def _runs(mask: npt.NDArray[np.bool_], *, first: int) -> list[tuple[int, int]]:
    """Start and end of each run of true frames in the mask, from `first` on."""
    edges = first + np.flatnonzero(np.diff(mask[first:], prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _seconds(run: tuple[int, int]) -> float:
    return (run[1] - run[0]) / FRAMES_A_SECOND
