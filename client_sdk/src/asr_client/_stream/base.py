"""What both live streams share: settings, events and the steps that do not wait."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asr_client._errors import InvalidResponse, StreamLost
from asr_client._stream.core import StreamCore
from asr_client._stream.events import Interim, LiveTranscript, Segment, Skipped, StreamEvent
from asr_client._stream.form import Encoder, StreamSettings, checked_options, pieces
from asr_client._stream.look import Look, LookResult, look_options, look_result
from asr_client._transport.call import Call
from asr_client._types import Chunk
from asr_client._wire import STREAM_MODEL, ContractError, infer_request, result

if TYPE_CHECKING:
    from asr_client._base import BaseClient

SPAN = "asr.look"
CLOSED_POLL_S = 1.0
"""How often an idle stream sees whether its client was closed."""


class BaseLive:
    """A live stream's audio, events and finals; neither lock nor thread.

    Args:
        client: makes the calls.
        settings: how the stream is looked at.
        encoder: what the chunks are.
        options: OPTIONS of every look, but for its form.
        resume: where a lost stream goes on.
    """

    def __init__(
        self,
        client: BaseClient,
        settings: StreamSettings,
        encoder: Encoder,
        options: dict[str, Any],
        resume: StreamLost | None,
    ) -> None:
        self._client: Any = client
        self._settings = settings
        self._encoder = encoder
        self._options = checked_options(options)
        self._resume = resume
        self._core: StreamCore | None = None
        self._events: deque[StreamEvent] = deque()
        self._segments: list[Segment] = []
        self._skipped: list[Skipped] = []
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._process: int | None = None
        """The process that opened the stream."""
        self._finishing = False
        self._done = False
        self._closing = False
        if resume is not None:
            self._begin()

    @property
    def transcript(self) -> LiveTranscript:
        """All that is final so far; it grows for as long as the stream runs."""
        return LiveTranscript(segments=tuple(self._segments), skipped=tuple(self._skipped))

    def _open(self) -> None:
        if self._process is not None:
            raise RuntimeError("a stream is opened once")
        self._client._check_open()
        self._process = os.getpid()

    @property
    def _forked(self) -> bool:
        """Whether this process has a copy of a stream that belongs to its parent."""
        return self._process is not None and self._process != os.getpid()

    def _check_process(self) -> None:
        """Without a lock, since a lock may have been held during a fork."""
        if self._process is None:
            raise RuntimeError("the stream is not open: use it inside of its `with` block")
        if self._forked:
            raise RuntimeError("the stream belongs to the process that this one was forked from")

    def _check(self) -> None:
        self._raise_error()
        if self._closing:
            raise RuntimeError("the stream is closed: use it inside of its `with` block")

    def _fail(self, error: BaseException) -> None:
        """End the stream; the first error stays."""
        if self._error is None:
            self._error, self._traceback = error, error.__traceback__
            if isinstance(error, StreamLost):
                error.audio += self._encoder.rest

    def _raise_error(self) -> None:
        if self._error is not None:
            # Raised as it is, it would grow by a frame each time.
            raise self._error.with_traceback(self._traceback)

    def _begin(self) -> StreamCore:
        """The core, once the form of the audio is known."""
        if self._core is None:
            assert self._encoder.form is not None
            self._core = StreamCore(self._settings, self._encoder.form, resume=self._resume)
        return self._core

    def _pieces(self, chunk: Chunk) -> Iterator[bytes]:
        """Whole frames, at most a second each."""
        pcm = self._encoder.pcm(chunk)
        form = self._encoder.form
        return iter(()) if form is None else pieces(pcm, form, self._settings.max_behind_s)

    def _append(self, pcm: bytes) -> None:
        self._check()
        if self._finishing:
            raise RuntimeError("the stream is finished")
        if pcm:
            self._begin().feed(pcm)

    def _append_chunk(self, chunk: Chunk) -> None:
        """Take all of a chunk, or nothing."""
        self._check()
        rest = self._encoder.rest
        pcm = self._encoder.pcm(chunk)
        try:
            self._append(pcm)
        except BaseException:
            self._encoder.rest = rest
            raise

    def _has_room(self, pcm: bytes) -> bool:
        return self._error is not None or self._core is None or self._core.has_room(len(pcm))

    def _mark_flush(self) -> None:
        self._check()
        if self._core is not None:
            self._core.flush()

    def _mark_finish(self) -> None:
        self._check()
        self._finishing = True
        if self._core is not None:
            self._core.finish()

    def _is_finished(self) -> bool:
        """Note the end of the stream, once everything is final."""
        if not self._finishing or not (self._core is None or self._core.finished):
            return False
        self._done = True
        if self._encoder.rest:
            size = len(self._encoder.rest)
            self._fail(ValueError(f"the audio ends within a frame: {size} bytes are left"))
        return True

    def _has_ended(self) -> bool:
        return self._done or self._closing or self._error is not None

    def _whole_transcript(self) -> LiveTranscript:
        """The transcript, once everything is final."""
        self._raise_error()
        if not self._done:
            raise RuntimeError("the stream was closed before everything was final")
        return self.transcript

    def _take(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            # An interim that nobody took is replaced by what follows it.
            if self._events and isinstance(self._events[-1], Interim):
                self._events.pop()
            self._events.append(event)
            if isinstance(event, Segment):
                self._segments.append(event)
            elif isinstance(event, Skipped):
                self._skipped.append(event)

    def _request(self, call: Call, look: Look) -> Any:
        form = self._begin().form
        options = {
            "encoding": form.encoding,
            "sample_rate": form.sample_rate,
            "channels": form.channels,
            **self._options,
        }
        return infer_request(
            request_id=call.request_id,
            audio=look.audio,
            options=look_options(look, options),
            model=STREAM_MODEL,
        )

    def _result(self, call: Call, response: Any) -> LookResult:
        try:
            return look_result(result(response, required=frozenset({"RESULT"})))
        except ContractError as error:
            raise call.error(InvalidResponse, "OK", str(error)) from error

    def _answered(self, call: Call, found: LookResult, now: float) -> None:
        try:
            self._take(self._begin().answered(found, now))
        except ContractError as error:
            raise call.error(InvalidResponse, "OK", str(error)) from error
