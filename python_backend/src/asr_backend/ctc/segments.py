"""A long recording's emissions cut between words, so that each part can be searched by itself."""

from __future__ import annotations

import math

import numpy as np

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.emissions import Emissions

CERTAIN_LOG_PROB = math.log(0.9)
"""Of the symbol of a frame at which a segment may end."""


class Segments:
    """Takes frames as they come and gives segments that end between two words.

    A cut is made at the first frame behind `min_frames` that holds the word delimiter, or rests
    behind one, beyond doubt; in a vocabulary without one, at any such rest. A segment without such
    a frame is cut at `max_frames`, be that in a word. Cuts depend on the frames alone, not on how
    they were pushed.

    Args:
        checkpoint: whose symbols the emissions hold.
        min_frames: of every segment but the last.
        max_frames: of any segment.
    """

    def __init__(self, checkpoint: Checkpoint, *, min_frames: int, max_frames: int) -> None:
        self._silent_ids = sorted(checkpoint.silent_ids)
        self._delimiter_id = checkpoint.word_delimiter_id
        self._min_frames = min_frames
        self._max_frames = max_frames
        self._open: Emissions = np.zeros((0, len(checkpoint.vocabulary)), np.float32)

    def push(self, emissions: Emissions) -> list[Emissions]:
        """Take float32 [any number, vocabulary]; return the segments that are now complete."""
        self._open = np.concatenate([self._open, emissions])
        segments = []
        while (end := self._end()) is not None:
            segments.append(self._open[:end])
            self._open = self._open[end:]
        return segments

    def finish(self) -> Emissions:
        """Return the frames that are left, float32 [any number, vocabulary]."""
        last, self._open = self._open, self._open[:0]
        return last

    def _end(self) -> int | None:
        """The frame at which the open segment ends, once that is known."""
        frames = self._open[: self._max_frames]
        if len(frames) <= self._min_frames:
            return None
        ids = frames.argmax(axis=1)
        rests = np.isin(ids, self._silent_ids)
        # The last frame that was no rest, for each; -1 where nothing has been heard yet.
        heard = np.maximum.accumulate(np.where(rests, -1, np.arange(len(ids))))
        between = (heard < 0) | (ids[heard] == self._delimiter_id)
        if self._delimiter_id is None:
            between = rests
        between &= frames.max(axis=1) >= CERTAIN_LOG_PROB
        ends = np.flatnonzero(between[self._min_frames :])
        if len(ends):
            return self._min_frames + int(ends[0])
        return self._max_frames if len(frames) == self._max_frames else None
