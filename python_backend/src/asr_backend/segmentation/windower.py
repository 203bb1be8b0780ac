"""A stream of samples cut into windows that lie on the acoustic model's frame grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_backend.audio.format import SAMPLE_RATE_HZ, Samples
from asr_backend.segmentation.pauses import find_pause

MIN_WINDOW_S = 2.0
"""Before a pause, at most half of the longest: a normalisation over less audio is a poor one."""
PAUSE_CONTEXT_S = 0.1
"""How much of a pause's silence each neighbour hears on its own side, to within a frame of 20 ms: a
frame that has a few samples of speech may count as silent."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the acoustic model sees in one forward."""

    index: int
    start_sample: int
    """From the start of the audio; a multiple of the stride."""
    samples: Samples
    """float32 [samples], mono, 16 kHz."""
    last: bool
    after_pause: bool = False
    """Whether it begins in a pause that the window before ends in: between two words. There may be
    silence between the two that neither has."""

    @property
    def end_sample(self) -> int:
        """The sample after its last, from the start of the audio."""
        return self.start_sample + len(self.samples)

    @property
    def is_only(self) -> bool:
        """Whether it is the whole recording."""
        return self.index == 0 and self.last


class Windower:
    """Cuts audio into windows: blocks in, windows out.

    Audio of at most `max_window_s` is one window. Longer audio is cut in the first good pause, as
    if what is said had been sent phrase by phrase; nobody hears the inside of its silence. Where
    there is no pause, the window has its full length and the next one shares `overlap_s` with it.
    The last window starts earlier where it would else be too short: shorter than MIN_WINDOW_S
    behind a pause, than half of the longest elsewhere. Starts are multiples of the stride, so that
    frame k of a window is frame k + start_sample / stride of the audio. Cuts depend on the samples
    alone, not on how they were pushed. At most two windows of samples and a block are held.

    Args:
        max_window_s: longest window; rounded down to whole strides.
        overlap_s: less than half of it; rounded down to whole strides, of which one at least
            must remain.
        stride_samples: samples from one frame to the next.

    Raises:
        ValueError: lengths that do not fit each other.
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
        # Blocks that are not joined to it yet.
        self._waiting: list[Samples] = []
        self._end = 0
        # Where the samples held, and the next window, start; a last window may start in between.
        self._held_start = self._start = 0
        # Of the next window.
        self._index = 0
        self._after_pause = False
        # Where the window before it ends.
        self._cut_end = 0

    def push(self, block: Samples) -> list[Window]:
        """Take the next block, of any length; return the windows that are now complete.

        None of them is the last.
        """
        self._waiting.append(block)
        self._end += len(block)
        windows = []
        # One sample more than a window, and the window is not the last.
        while self._end > self._start + self._longest:
            self._join(self._start)
            windows.append(self._cut())
        return windows

    def finish(self) -> Window | None:
        """Return the last window, None if there are no samples; nothing may be pushed after it."""
        if not self._end:
            return None
        self._join(self._held_start)
        shortest = self._shortest if self._after_pause else self._longest // 2
        latest = (self._end - shortest) // self._stride * self._stride
        start, after_pause = self._start, self._after_pause
        if self._index and start > latest:
            start, after_pause = latest, after_pause and latest >= self._cut_end
        return Window(
            index=self._index,
            start_sample=start,
            samples=self._held[start - self._held_start :],
            last=True,
            after_pause=after_pause,
        )

    def _join(self, start: int) -> None:
        """Hold the samples from `start` on in one array."""
        if self._waiting:
            self._held = np.concatenate([self._held, *self._waiting])
            self._waiting = []
        self._held = self._held[start - self._held_start :]
        self._held_start = start

    def _cut(self) -> Window:
        """The window that begins where the held samples do, and is not the last."""
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
        """Where a window ends, where the next starts, and whether that is in a pause."""
        pause = find_pause(longest, first=max(self._overlap, self._shortest))
        if pause is None:
            return len(longest), len(longest) - self._overlap, False
        context = round(PAUSE_CONTEXT_S * SAMPLE_RATE_HZ)
        silence_start, silence_end = pause.silence
        end = min(silence_start + context, pause.end)
        following = max(silence_end - context, pause.start)
        return end, following // self._stride * self._stride, True
