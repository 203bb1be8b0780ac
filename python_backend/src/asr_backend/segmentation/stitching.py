"""Joins the emissions of windows into those of the whole audio."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.ctc.emissions import Emissions

MARGIN_FRAMES = 4
"""Preferred number of quiet frames on each side of a cut. With so many, two windows may place a
symbol up to three frames apart (60 ms at a stride of 320 samples), and it is neither lost nor
doubled."""
FILL_FRAMES = 1000
"""Maximum number of frames that `fill` makes at a time."""
IMPOSSIBLE = -100.0
"""A log-probability so low that no decoder chooses the symbol."""


class Stitcher:
    """Joins windows in order, as they arrive.

    Two neighbours are joined at a quiet frame of their overlap: one where both have the blank, or
    both the word delimiter. The quiet frame nearest to the middle is best, because a frame near the
    edge of a window has little context. If there is no quiet frame, they are joined in the middle.
    A cut in a pause becomes the end of a word, and so does silence that is in no window: many
    checkpoints do not write the delimiter at the start and the end of their input.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        ids = (checkpoint.blank_id, checkpoint.word_delimiter_id)
        self._quiet_ids = [id_ for id_ in ids if id_ is not None]
        # A frame that is certainly between two words.
        self._pause = np.full((1, len(checkpoint.vocabulary)), IMPOSSIBLE, np.float32)
        self._pause[0, self._quiet_ids[-1]] = 0
        self._stride_samples = checkpoint.stride_samples
        # Frames of the last window from the last cut on, and the number of the first one.
        self._open: Emissions = np.zeros((0, len(checkpoint.vocabulary)), np.float32)
        self._open_start = 0

    def fill(self, window_start_sample: int) -> Iterator[Emissions]:
        """Yield final frames of long silence before the next window, which begins in a pause.

        `push` adds such frames all at once, and silence that is in no window may last for hours.
        """
        start = window_start_sample // self._stride_samples
        while start > self._open_start + len(self._open) + FILL_FRAMES:
            yield self._open
            self._open_start += len(self._open)
            self._open = np.repeat(self._pause, FILL_FRAMES, axis=0)

    def push(
        self, window_start_sample: int, emissions: Emissions, *, after_pause: bool = False
    ) -> Emissions:
        """Take the next window's emissions.

        Args:
            window_start_sample: a multiple of the stride, inside the last window; after its end
                in a pause only.
            emissions: float32 [frames, vocabulary].
            after_pause: whether the window begins between two words.

        Returns:
            The frames that are now final, float32 [any number, vocabulary].

        Raises:
            ValueError: there is a gap before the window, outside a pause.
        """
        start = window_start_sample // self._stride_samples
        end = self._open_start + len(self._open)
        if after_pause and start > end:
            self._open = np.concatenate([self._open, np.repeat(self._pause, start - end, axis=0)])
            end = start
        if start > end:
            raise ValueError(f"a window starts at frame {start}, the one before ends at {end}")
        first = max(start, self._open_start)
        overlap = min(end, start + len(emissions)) - first
        cut = first + self._cut(
            self._open[first - self._open_start :][:overlap], emissions[first - start :][:overlap]
        )
        final = self._open[: cut - self._open_start]
        self._open, self._open_start = emissions[cut - start :], cut
        if after_pause and self._is_quiet(self._open[:1]).all():
            self._open = np.concatenate([self._pause, self._open[1:]])
        return final

    def finish(self) -> Emissions:
        """Return the last window's frames, float32 [any number, vocabulary]."""
        final, self._open = self._open, self._open[:0]
        return final

    def _is_quiet(self, emissions: Emissions) -> npt.NDArray[np.bool_]:
        return np.isin(emissions.argmax(axis=1), self._quiet_ids)

    def _cut(self, left: Emissions, right: Emissions) -> int:
        """The first frame of an overlap that is taken from the right side."""
        middle = len(left) // 2
        same = left.argmax(axis=1) == right.argmax(axis=1)
        quiet = same & self._is_quiet(left)
        frames = np.arange(len(quiet))
        symbols = frames[~quiet]
        if not len(symbols):
            return middle
        # Distance of each frame to the nearest symbol; 0 at a symbol.
        after = np.searchsorted(symbols, frames).clip(max=len(symbols) - 1)
        before = (after - 1).clip(min=0)
        distance = np.minimum(np.abs(symbols[after] - frames), np.abs(symbols[before] - frames))
        margin = distance.clip(max=MARGIN_FRAMES)
        # The outer quarters are used only if the inner half has no quiet frame.
        inner = np.abs(frames - middle) <= len(frames) // 4
        if margin[inner].any():
            margin[~inner] = 0
        best = frames[margin == margin.max()]
        return int(best[np.abs(best - middle).argmin()])
