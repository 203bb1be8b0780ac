"""Cuts the emissions of a long recording between words, so that each part is searched alone."""

from __future__ import annotations

import math

import numpy as np

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.emissions import Emissions

CERTAIN_LOG_PROB = math.log(0.9)
"""Minimum log-probability of the best symbol of a frame at which a segment may end."""


class Segments:
    """Cuts frames into segments that end between two words.

    A cut is made at the first frame after `min_frames` that certainly is the word delimiter, or a
    blank after one; without a delimiter in the vocabulary, at any certain blank. A segment without
    such a frame is cut at `max_frames`, even inside a word. Cuts depend on the frames alone, not on
    how they were pushed.

    Args:
        checkpoint: its vocabulary is that of the emissions.
        min_frames: minimum length of every segment except the last.
        max_frames: maximum length of a segment.
    """

    def __init__(self, checkpoint: Checkpoint, *, min_frames: int, max_frames: int) -> None:
        self._silent_ids = sorted(checkpoint.silent_ids)
        self._delimiter_ids = sorted(checkpoint.delimiter_ids)
        self._min_frames = min_frames
        self._max_frames = max_frames
        self._open: Emissions = np.zeros((0, len(checkpoint.vocabulary)), np.float32)

    def push(self, emissions: Emissions) -> list[Emissions]:
        """Take the next frames; return the segments that are now complete."""
        self._open = np.concatenate([self._open, emissions])
        segments = []
        while (end := self._end()) is not None:
            segments.append(self._open[:end])
            self._open = self._open[end:]
        return segments

    def finish(self) -> Emissions:
        """Return the remaining frames, float32 [any number, vocabulary]."""
        last, self._open = self._open, self._open[:0]
        return last

    def _end(self) -> int | None:
        """The frame at which the open segment ends, once that is known."""
        frames = self._open[: self._max_frames]
        if len(frames) <= self._min_frames:
            return None
        ids = frames.argmax(axis=1)
        rests = np.isin(ids, self._silent_ids)
        # For each frame the last one before it that is no rest; -1 if there is none.
        last_symbol = np.maximum.accumulate(np.where(rests, -1, np.arange(len(ids))))
        between = (last_symbol < 0) | np.isin(ids[last_symbol], self._delimiter_ids)
        if not self._delimiter_ids:
            between = rests
        between &= frames.max(axis=1) >= CERTAIN_LOG_PROB
        ends = np.flatnonzero(between[self._min_frames :])
        if len(ends):
            return self._min_frames + int(ends[0])
        return self._max_frames if len(frames) == self._max_frames else None
