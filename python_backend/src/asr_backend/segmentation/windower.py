"""Cuts a stream of samples into windows that start on the acoustic model's frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_backend.audio.format import SAMPLE_RATE_HZ, Samples
from asr_backend.segmentation.pauses import find_pause

MIN_WINDOW_S = 2.0
"""Minimum length of a window that ends in a pause, or half of the maximum length if that is less.
The normalisation of a window over less audio is poor."""
PAUSE_CONTEXT_S = 0.1
"""Silence of a pause that each neighbouring window keeps, to within a frame of 20 ms: a frame with
a few samples of speech may count as silent."""
MIN_SKIP_S = 1.0
"""Minimum length of silence that is in no window. A cut costs the windows beside it context, and a
shorter silence is cheap."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The input of one forward of the acoustic model."""

    index: int
    start_sample: int
    """From the start of the audio; a multiple of the stride."""
    samples: Samples
    """float32 [samples], mono, 16 kHz."""
    last: bool
    after_pause: bool = False
    """Whether the window before ends in a pause and this one begins in the same pause, between two
    words. There may be silence between the two windows that is in neither."""

    @property
    def end_sample(self) -> int:
        """The sample after the last one, from the start of the audio."""
        return self.start_sample + len(self.samples)

    @property
    def is_only(self) -> bool:
        """Whether it is the whole recording."""
        return self.index == 0 and self.last


class Windower:
    """Cuts audio into windows: blocks in, windows out.

    Audio of at most `max_window_s` is one window. Longer audio is cut in the first good pause, as
    if each phrase had been sent alone; the inside of the silence is in no window. If there is no
    pause, the window has the maximum length and the next one overlaps it by `overlap_s`. The last
    window starts earlier if it would be too short otherwise: shorter than MIN_WINDOW_S after a
    pause, shorter than half of the maximum elsewhere.

    Starts are multiples of the stride, so frame k of a window is frame k + start_sample / stride of
    the audio. Cuts depend on the samples alone, not on the sizes of the blocks. At most two windows
    of samples and one block are held.

    Silence of which the caller knows costs nothing, whatever its length: there is a cut in it.

    Args:
        max_window_s: maximum length of a window, in seconds; rounded down to whole strides.
        overlap_s: less than half of it; rounded down to whole strides, at least one.
        stride_samples: samples from one frame to the next.

    Raises:
        ValueError: `overlap_s` is too short or too long.
    """

    def __init__(self, *, max_window_s: float, overlap_s: float, stride_samples: int) -> None:
        self._stride = stride_samples
        self._longest = round(max_window_s * SAMPLE_RATE_HZ) // stride_samples * stride_samples
        self._overlap = round(overlap_s * SAMPLE_RATE_HZ) // stride_samples * stride_samples
        if not 0 < self._overlap < self._longest / 2:
            raise ValueError(
                f"overlap_s must be from {stride_samples / SAMPLE_RATE_HZ:g} to less than half of "
                f"max_window_s, not {overlap_s:g} of {max_window_s:g}"
            )
        self._shortest = min(round(MIN_WINDOW_S * SAMPLE_RATE_HZ), self._longest // 2)
        self._held = np.zeros(0, np.float32)
        # Blocks that are not joined to `_held` yet.
        self._waiting: list[Samples] = []
        self._end = 0
        # Starts of the held samples and of the next window. The last window may start in between.
        self._held_start = self._start = 0
        # These belong to the next window.
        self._index = 0
        self._after_pause = False
        # The end of the window before it.
        self._cut_end = 0

    def push(self, block: Samples) -> list[Window]:
        """Take the next block, of any length; return the windows that are now complete.

        None of them is the last.
        """
        self._waiting.append(block)
        self._end += len(block)
        windows = []
        # With one sample more than a window, the window is not the last.
        while self._end > self._start + self._longest:
            self._join(self._start)
            windows.append(self._cut())
        return windows

    def skip(self, count: int) -> list[Window]:
        """Take so many samples of silence; return the windows that are now complete.

        None of them is the last. The windows on both sides keep PAUSE_CONTEXT_S of the silence.
        """
        if count < round(MIN_SKIP_S * SAMPLE_RATE_HZ):
            return self.push(np.zeros(count, np.float32))
        silence_end = self._end + count
        context = round(PAUSE_CONTEXT_S * SAMPLE_RATE_HZ)
        windows = []
        if self._end:
            windows = self.push(np.zeros(context, np.float32))
            windows.append(self._cut_rest())
        start = (silence_end - context) // self._stride * self._stride
        self._held = np.zeros(silence_end - start, np.float32)
        self._end, self._held_start, self._start = silence_end, start, start
        self._after_pause = True
        return windows

    def finish(self) -> Window | None:
        """Return the last window, None if there are no samples; nothing may be pushed after it."""
        if not self._end:
            return None
        return self._rest(is_last=True)

    def _cut_rest(self) -> Window:
        """Cut the window at the end of the samples so far, which is not the last."""
        window = self._rest(is_last=False)
        self._cut_end = window.end_sample
        self._index += 1
        return window

    def _rest(self, *, is_last: bool) -> Window:
        """The window at the end of the samples so far."""
        self._join(self._held_start)
        shortest = self._shortest if self._after_pause else self._longest // 2
        latest = (self._end - shortest) // self._stride * self._stride
        start, after_pause = self._start, self._after_pause
        if self._index and start > latest:
            start = max(latest, self._held_start)
            after_pause = after_pause and start >= self._cut_end
        return Window(
            index=self._index,
            start_sample=start,
            samples=self._held[start - self._held_start :],
            last=is_last,
            after_pause=after_pause,
        )

    def _join(self, start: int) -> None:
        """Join the samples from `start` on into one array."""
        if self._waiting:
            self._held = np.concatenate([self._held, *self._waiting])
            self._waiting = []
        self._held = self._held[start - self._held_start :]
        self._held_start = start

    def _cut(self) -> Window:
        """Cut the window at the start of the held samples, which is not the last."""
        end, following, in_pause = self._find_cut(self._held[: self._longest])
        window = Window(
            index=self._index,
            start_sample=self._start,
            # A copy, so that a window does not keep its neighbours in memory.
            samples=self._held[:end].copy(),
            last=False,
            after_pause=self._after_pause,
        )
        self._cut_end = self._start + end
        self._start += following
        self._index += 1
        self._after_pause = in_pause
        return window

    def _find_cut(self, longest: Samples) -> tuple[int, int, bool]:
        """End of a window, start of the next, and whether the cut is in a pause."""
        pause = find_pause(longest, first=max(self._overlap, self._shortest))
        if pause is None:
            return len(longest), len(longest) - self._overlap, False
        context = round(PAUSE_CONTEXT_S * SAMPLE_RATE_HZ)
        silence_start, silence_end = pause.silence
        end = min(silence_start + context, pause.end)
        following = max(silence_end - context, pause.start)
        return end, following // self._stride * self._stride, True
