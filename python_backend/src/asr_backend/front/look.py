"""One look at live audio: the segments that end in it, and the words so far of the open one.

A segment is recognised by the code that transcribes a recording, from the same bytes. So a final is
what `transcribe` answers for these frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from asr_backend.ctc.transcription import Transcription
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.look_audio import check_audio, stream_levels
from asr_backend.front.recognition import Job, Recognizer
from asr_backend.front.stages import Stages
from asr_backend.front.stream_options import StreamOptions, endpointer_settings
from asr_backend.front.stream_state import StreamState, read_state, word_hashes, write_state
from asr_backend.segmentation.endpointer import Cut, Endpointer, Reason
from asr_backend.segmentation.levels import at_frame
from asr_backend.segmentation.word_gaps import place_between_words

STOP_AFTER_S = 1.0
"""A look that has taken so long stops behind its next final: the caller shows it, and looks again.
The deadline of a look is at least 5 s."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment that is final.

    Positions are frames of the submitted PCM from the stream's start; the times of its
    transcription count from `start`.
    """

    index: int
    start: int
    end: int
    reason: Reason
    transcription: Transcription


@dataclass(frozen=True, kw_only=True)
class Interim:
    """The open segment up to the end of the audio; positions and times as in Segment."""

    index: int
    start: int
    end: int
    transcription: Transcription
    stable_words: int
    """The number of first words that this look and the one before agree on."""


@dataclass(frozen=True, kw_only=True)
class LookResult:
    """What one look found."""

    rate_hz: int
    position: int
    """Where AUDIO began: frames of the submitted PCM from the stream's start."""
    processed: int
    """How far the look went."""
    consumed: int
    """Where AUDIO begins next."""
    frame_bytes: int
    state: str
    segments: tuple[Segment, ...]
    interim: Interim | None
    is_open: bool
    """Whether a segment is open at `processed`."""
    computed_s: float
    """Seconds of audio that the network was asked for."""


class Look:
    """One look. To be run once.

    Args:
        recognizer: transcribes segments.
        options: of the look.
        audio: raw PCM from the state's position on.
        is_cancelled: whether the caller has gone.
        stages: the time of its call by stage.
        clock: seconds, monotonic.

    Raises:
        AsrError: EMPTY_AUDIO, CORRUPT_AUDIO, AUDIO_TOO_LONG or AUDIO_TOO_LARGE for the audio,
            BAD_OPTIONS for the state, UNKNOWN_LANGUAGE or BAD_OPTIONS as Decoders.decoder.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        options: StreamOptions,
        audio: bytes,
        *,
        is_cancelled: Callable[[], bool],
        stages: Stages,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recognizer = recognizer
        self._options = options
        self._audio = memoryview(audio)
        self._is_cancelled = is_cancelled
        self._stages = stages
        self._clock = clock
        self._began_s = clock()
        self._format = format = options.format
        self._rate_hz = format.sample_rate_hz
        check_audio(audio, format, may_be_empty=options.end)
        # A wrong language or hot word is refused now, not when somebody speaks.
        recognizer.decoders.decoder(options.language, options.beam)
        limits = recognizer.limits
        if len(audio) > limits.max_audio_bytes:
            raise AsrError(
                ErrorCode.AUDIO_TOO_LARGE,
                f"{len(audio)} bytes, the limit is {limits.max_audio_bytes} bytes",
            )
        self._state = (
            StreamState() if options.state is None else read_state(options.state, self._rate_hz)
        )
        self._position = self._state.endpointer.position
        self._end = self._position + len(audio) // format.frame_bytes
        self._index = self._state.index
        self._segments: list[Segment] = []
        self._computed_s = 0.0

    async def run(self) -> LookResult:
        """Look.

        Raises:
            AsrError: NON_FINITE_SAMPLES, or as Recognizer.recognize.
            Cancelled, UpstreamError: as Recognizer.recognize.
        """
        with self._stages.stage("decode"):
            levels = await self._recognizer.in_decode_pool(
                partial(
                    stream_levels,
                    self._audio,
                    self._format,
                    self._options.channel,
                    position=self._position,
                )
            )
        settings = endpointer_settings(self._options, max_window_s=self._recognizer.max_window_s)
        points = Endpointer(
            self._state.endpointer,
            levels=levels,
            end=self._end,
            rate_hz=self._rate_hz,
            settings=settings,
        )
        is_whole = await self._find_segments(points)
        interim = None
        if is_whole and self._options.end:
            await self._finish(points)
        elif is_whole and points.is_open and self._options.interim:
            interim = await self._interim(points)
        return self._result(points, interim, is_whole)

    async def _find_segments(self, points: Endpointer) -> bool:
        """Recognise the segments that end in the audio; False if the look stops before its end."""
        while (cut := points.next_cut()) is not None:
            await self._close(points, cut)
            if not self._options.end and self._clock() - self._began_s > STOP_AFTER_S:
                return False
        return True

    async def _finish(self, points: Endpointer) -> None:
        if (cut := points.finish()) is not None:
            await self._close(points, cut)
        points.end_stream()

    async def _close(self, points: Endpointer, cut: Cut) -> None:
        """Make a segment final."""
        end = cut.end
        found = await self._transcribe(cut.start, end)
        if cut.in_speech and found.words:
            end = self._between_words(cut, found)
            if end < cut.end:
                found = await self._transcribe(cut.start, end)
        # There was a word up to the latest end, even if there is none up to this one.
        points.close(cut, end=end, has_words=bool(found.words) or end < cut.end)
        if found.words:
            self._segments.append(
                Segment(
                    index=self._index,
                    start=cut.start,
                    end=end,
                    reason=cut.reason,
                    transcription=found,
                )
            )
            self._index += 1

    def _between_words(self, cut: Cut, found: Transcription) -> int:
        words = [(word.start_s, word.end_s) for word in found.words]
        place_s = place_between_words(words, (cut.end - cut.start) / self._rate_hz)
        place = at_frame(cut.start + place_s * self._rate_hz, self._rate_hz)
        return place if cut.start < place < cut.end else cut.end

    async def _interim(self, points: Endpointer) -> Interim | None:
        if points.start >= self._end:
            return None
        found = await self._transcribe(points.start, self._end)
        before = self._words_before(points)
        now = word_hashes([word.text for word in found.words])
        return Interim(
            index=self._index,
            start=points.start,
            end=self._end,
            transcription=found,
            stable_words=_common(before, now),
        )

    def _words_before(self, points: Endpointer) -> tuple[bytes, ...]:
        """The words of the open segment as the last look recognised them."""
        before = self._state.endpointer
        is_same = points.is_open and before.is_open and before.position == points.start
        return self._state.words if is_same else ()

    async def _transcribe(self, start: int, end: int) -> Transcription:
        self._computed_s += (end - start) / self._rate_hz
        first, last = (
            (place - self._position) * self._format.frame_bytes for place in (start, end)
        )
        job = Job(
            audio=bytes(self._audio[first:last]),
            options=self._options,
            is_cancelled=self._is_cancelled,
            on_length=lambda audio_s: None,
            stages=self._stages,
            is_live=True,
        )
        return (await self._recognizer.recognize(job)).transcription

    def _result(self, points: Endpointer, interim: Interim | None, is_whole: bool) -> LookResult:
        if interim is not None:
            words = word_hashes([word.text for word in interim.transcription.words])
        else:
            words = self._words_before(points)
        endpointer = points.state()
        state = StreamState(endpointer=endpointer, index=self._index, words=words)
        return LookResult(
            rate_hz=self._rate_hz,
            position=self._position,
            processed=self._end if is_whole else points.decided_sample,
            consumed=endpointer.position,
            frame_bytes=self._format.frame_bytes,
            state=write_state(state, self._rate_hz),
            segments=tuple(self._segments),
            interim=interim,
            is_open=points.is_open,
            computed_s=self._computed_s,
        )


def _common(left: Sequence[bytes], right: Sequence[bytes]) -> int:
    """The number of first items that are equal."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
