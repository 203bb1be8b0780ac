"""Finds where the segments of live audio begin and end.

It takes one level for each 20 ms of the source (levels.py) and decides frame by frame, each time
from that frame and those before it. What it remembers is an EndpointerState, so that the next call
goes on where this one ended, in another process if need be. Thus segments do not depend on how the
audio was cut into calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from asr_backend.segmentation.levels import (
    HISTORY_FRAMES,
    LOWEST_DB,
    MIN_RANGE,
    STEPS_A_DB,
    Levels,
    first_sample,
    frame_from,
    frames_until,
    ranges,
    threshold,
)
from asr_backend.segmentation.pauses import FRAMES_A_SECOND

CONTEXT_FRAMES = FRAMES_A_SECOND // 5
"""Silence that a segment keeps on each side, 0.2 s: less loses soft beginnings in noise."""
MIN_CUT_PAUSE_FRAMES = FRAMES_A_SECOND // 5
"""A segment of maximum length is cut in a pause of at least 0.2 s; a shorter one may be inside a
word."""
UNKNOWN = round(10 * STEPS_A_DB * (-75.0 - LOWEST_DB))
"""The threshold before speech and silence have both been heard: only digital silence is quiet."""
STEADY_RANGE = round(6.0 * STEPS_A_DB)
"""Levels within 6 dB for a second and more are noise: those of speech change more."""
MIN_STEADY_FRAMES = FRAMES_A_SECOND
NOISE_MARGIN = round(6.0 * STEPS_A_DB)
"""Of noise, levels up to 6 dB above its own are quiet."""

Reason = Literal["pause", "length", "end"]


@dataclass(frozen=True, kw_only=True)
class EndpointerSettings:
    """What may change from call to call."""

    endpoint_silence_s: float = 0.5
    """A pause of this length ends a segment; at least 0.2."""
    max_segment_s: float = 15.0
    """Maximum length of a segment."""

    @property
    def pause_frames(self) -> int:
        """The pause that ends a segment, in frames."""
        return round(self.endpoint_silence_s * FRAMES_A_SECOND)

    @property
    def max_frames(self) -> int:
        """Maximum length of a segment, in frames."""
        return int(self.max_segment_s * FRAMES_A_SECOND + 1e-6)


@dataclass(frozen=True, kw_only=True)
class EndpointerState:
    """What an Endpointer remembers between two calls. Positions count from the stream's start."""

    position: int = 0
    """The first sample that is still needed. If a segment is open, it begins here."""
    decided: int = 0
    """Frames that have been decided on."""
    is_open: bool = False
    """Whether a segment is open."""
    is_unsure: bool = False
    """Whether the open segment was opened before silence was known, so that it may begin with
    noise."""
    threshold: int = UNKNOWN
    """Ten times the level below which frames are quiet while the levels' range is too small."""
    history: bytes = b""
    """The last levels of the frames before `position`, at most HISTORY_FRAMES."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The end of a segment. Positions are samples of the source from the stream's start."""

    start: int
    end: int
    """The sample after the segment's last. If it lies in speech, the latest one possible."""
    reason: Reason
    in_speech: bool = False
    """Whether there is no pause: the caller looks for a place between two words."""
    next_start: int | None = None
    """Where the next segment begins, if that is known."""


class Endpointer:
    """Looks for segments in the audio of one call.

    Use: call `next_cut` until it returns None, and after each Cut `close`; then, to end the stream,
    `finish` and `close`. `state` may be asked at any time but between a Cut and its `close`.

    Args:
        state: the state after the call before.
        levels: of all whole frames of the audio, which begins at the state's position.
        end: the sample after the audio's last, from the stream's start.
        rate_hz: samples per second of the source.
        settings: how segments end.
    """

    def __init__(
        self,
        state: EndpointerState,
        *,
        levels: Levels,
        end: int,
        rate_hz: int,
        settings: EndpointerSettings,
    ) -> None:
        self._settings = settings
        self._rate_hz = rate_hz
        self._history = np.frombuffer(state.history, np.uint8)
        self._all_levels = levels
        self._levels = levels.tobytes()
        self._first = frame_from(state.position, rate_hz)
        self._end = end
        self._end_frame = self._first + len(levels)
        self._next = min(max(state.decided, self._first), self._end_frame)
        self._is_unsure = state.is_unsure
        self._threshold = state.threshold
        # Where the open segment begins; None in silence.
        self._start = state.position if state.is_open else None
        # No segment begins earlier.
        self._earliest = state.position
        # The floors and tops also of the frame decided last: `finish` needs its threshold.
        self._ranges_first = max(self._first, self._next - 1)
        self._floors, self._tops = ranges(
            self._history, levels, first=self._ranges_first - self._first
        )
        # Whether the levels up to the last frame tell what is quiet.
        self._is_known = False
        if self._ranges_first < self._next:
            self._learn(self._next - 1)

    @property
    def is_open(self) -> bool:
        """Whether a segment is open."""
        return self._start is not None

    @property
    def start(self) -> int:
        """The first sample of the open segment."""
        assert self._start is not None
        return self._start

    @property
    def decided_sample(self) -> int:
        """The sample after the last frame that has been decided on."""
        return max(self._earliest, first_sample(self._next, self._rate_hz))

    def next_cut(self) -> Cut | None:
        """Decide on frames up to the end of a segment; None once all are decided."""
        while self._next < self._end_frame:
            frame = self._next
            self._next += 1
            self._learn(frame)
            if self._start is None:
                if not self._is_quiet(frame):
                    self._open(frame)
            elif (cut := self._cut(frame)) is not None:
                return cut
        return None

    def finish(self) -> Cut | None:
        """The rest of the audio as a segment, once all frames are decided; None in silence."""
        if self._start is None or self._start >= self._end:
            return None
        frame = quiet_from = self._next
        while quiet_from > self._start_frame and self._is_quiet(quiet_from - 1):
            quiet_from -= 1
        end = self._end
        if quiet_from > self._start_frame and frame - quiet_from > CONTEXT_FRAMES:
            end = first_sample(quiet_from + CONTEXT_FRAMES, self._rate_hz)
        return Cut(start=self._start, end=end, reason="end")

    def end_stream(self) -> None:
        """Consume all audio; what follows begins anew behind it."""
        self._start = None
        self._earliest = self._end
        self._next = max(self._end_frame, frame_from(self._end, self._rate_hz))

    def close(self, cut: Cut, *, end: int, has_words: bool) -> None:
        """End the segment.

        Args:
            cut: as returned.
            end: where it was ended, at most `cut.end`.
            has_words: whether words were recognised in it, or up to `cut.end`.
        """
        self._earliest = end
        self._start = cut.next_start
        if cut.in_speech and has_words:
            self._start = end
            return
        self._is_unsure = False
        if not has_words and not self._is_known:
            frames = self._levels[frame_from(cut.start, self._rate_hz) - self._first :]
            frames = frames[: self._next - frame_from(cut.start, self._rate_hz)]
            if frames:
                loud = int(np.quantile(np.frombuffer(frames, np.uint8), 0.98, method="lower"))
                self._threshold = max(self._threshold, 10 * (loud + NOISE_MARGIN))

    def state(self) -> EndpointerState:
        """The state to go on from."""
        position = self._start
        if position is None:
            position = max(self._earliest, first_sample(self._next - CONTEXT_FRAMES, self._rate_hz))
        passed = frame_from(position, self._rate_hz) - self._first
        history = np.concatenate([self._history, self._all_levels[: max(0, passed)]])
        return EndpointerState(
            position=position,
            decided=self._next,
            is_open=self._start is not None,
            is_unsure=self._is_unsure,
            threshold=self._threshold,
            history=history[-HISTORY_FRAMES:].tobytes(),
        )

    @property
    def _start_frame(self) -> int:
        """The first whole frame of the open segment."""
        return frame_from(self.start, self._rate_hz)

    def _learn(self, frame: int) -> None:
        """Take the threshold at a frame; the last one stays if the levels do not tell."""
        place = frame - self._ranges_first
        floor, top = self._floors[place], self._tops[place]
        counted = len(self._history) + frame + 1 - self._first
        is_steady = top - floor < STEADY_RANGE and counted >= MIN_STEADY_FRAMES
        self._is_known = is_steady or top - floor >= MIN_RANGE
        if is_steady:
            self._threshold = max(UNKNOWN, 10 * (top + NOISE_MARGIN))
        elif self._is_known:
            self._threshold = threshold(floor, top)

    def _is_quiet(self, frame: int) -> bool:
        return 10 * self._levels[frame - self._first] < self._threshold

    def _open(self, frame: int) -> None:
        start = first_sample(frame - CONTEXT_FRAMES, self._rate_hz)
        self._start = max(start, self._earliest)
        self._is_unsure = not self._is_known and self._threshold == UNKNOWN

    def _cut(self, frame: int) -> Cut | None:
        """The end of the open segment, if this frame ends it."""
        if self._is_unsure and self._is_known and not self._drop_leading_noise(frame):
            return None
        end_frame, start_frame = frame + 1, self._start_frame
        pause = self._settings.pause_frames
        last = self._levels[max(start_frame, end_frame - pause) - self._first :]
        last = last[: min(pause, end_frame - start_frame)]
        if len(last) == pause and 10 * max(last) < self._threshold:
            return Cut(
                start=self.start,
                end=first_sample(end_frame - pause + _context(pause), self._rate_hz),
                reason="pause",
            )
        if end_frame - self._containing_frame < self._settings.max_frames:
            return None
        return self._longest(min(end_frame, self._containing_frame + self._settings.max_frames))

    @property
    def _containing_frame(self) -> int:
        """The frame in which the open segment begins."""
        return frames_until(self.start, self._rate_hz)

    def _drop_leading_noise(self, frame: int) -> bool:
        """Let a segment that was opened too early begin before its first loud frame.

        Returns:
            Whether there is such a frame; if not, no segment is open any more.
        """
        self._is_unsure = False
        for loud in range(self._start_frame, frame + 1):
            if not self._is_quiet(loud):
                if loud - self._start_frame >= self._settings.pause_frames:
                    self._start = first_sample(loud - CONTEXT_FRAMES, self._rate_hz)
                return True
        self._earliest, self._start = self.start, None
        return False

    def _longest(self, end_frame: int) -> Cut:
        """The end of a segment of maximum length: its best pause, else somewhere in speech."""
        start_frame = self._start_frame
        middle = (start_frame + end_frame) // 2
        quiet = [self._is_quiet(frame) for frame in range(middle, end_frame)]
        length, begin = _longest_run(quiet)
        if length < MIN_CUT_PAUSE_FRAMES:
            end = first_sample(end_frame, self._rate_hz)
            return Cut(start=self.start, end=end, reason="length", in_speech=True)
        pause_start, pause_end = middle + begin, middle + begin + length
        next_frame = max(pause_end - CONTEXT_FRAMES, pause_start + _context(length))
        return Cut(
            start=self.start,
            end=first_sample(pause_start + _context(length), self._rate_hz),
            reason="length",
            next_start=first_sample(next_frame, self._rate_hz) if pause_end < self._next else None,
        )


def _context(pause_frames: int) -> int:
    """Frames of a pause that the segment before it keeps."""
    return min(CONTEXT_FRAMES, pause_frames // 2)


def _longest_run(mask: Sequence[bool]) -> tuple[int, int]:
    """Length and begin of the longest run of true values, the latest of equal ones."""
    best = (0, 0)
    length = 0
    for index, value in enumerate(mask):
        length = length + 1 if value else 0
        if length and length >= best[0]:
            best = (length, index + 1 - length)
    return best
