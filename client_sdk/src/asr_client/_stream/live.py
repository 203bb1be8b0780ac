"""A live stream for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from asr_client._errors import AsrError
from asr_client._stream.base import CLOSED_POLL_S, SPAN, BaseLive
from asr_client._stream.events import LiveTranscript, StreamEvent
from asr_client._stream.look import Look
from asr_client._transport.call import Call
from asr_client._types import Chunk

ROOM_POLL_S = 0.1


class LiveStream(BaseLive):
    """Live recognition, from `Client.stream`; a context manager.

    A thread of its own makes the looks, one at a time. The end of the `with` block cancels what is
    under way, and waits for the thread; `finish`, or the end of `run`, comes before.
    """

    _thread: threading.Thread | None = None
    _call: Call | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._changed = threading.Condition()

    def __enter__(self) -> LiveStream:
        self._open()
        self._thread = threading.Thread(target=self._work, name="asr-stream", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._forked:
            # The thread, and who may hold the lock, are in the parent process.
            return
        with self._changed:
            self._closing = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            self._client._sender.cancel(call)
        if self._thread is not None:
            self._thread.join()

    def run(self, chunks: Iterable[Chunk]) -> Iterator[StreamEvent]:
        """Feed all chunks, and yield events as they come, up to the end of the stream.

        The chunks are taken in the caller's thread, and no faster than `max_behind_s` allows:
        between two of them, the events that are there are yielded.

        Args:
            chunks: raw PCM as bytes, or arrays of samples as `transcribe` takes them.

        Raises:
            AsrError: the stream ended; its subclasses say how.
            TypeError, ValueError: a chunk is no audio, or of another form than the first.
        """
        for chunk in chunks:
            for pcm in self._pieces(chunk):
                give_up_at_s = time.monotonic() + self._settings.give_up_s
                while not self._room(pcm) and time.monotonic() < give_up_at_s:
                    yield from self.events(timeout_s=ROOM_POLL_S)
                self._feed(pcm)
            yield from self.events(timeout_s=0)
        self._finish()
        yield from self.events()

    def feed(self, chunk: Chunk) -> None:
        """Append audio; never waits.

        Args:
            chunk: raw PCM, also in parts of a frame, or an array of samples.

        Raises:
            StreamBehind: more than `max_behind_s` of audio waits; the chunk was not taken.
            AsrError: the stream ended before.
            TypeError, ValueError: it is no audio, or of another form than the first.
            RuntimeError: the stream is finished, or not open.
        """
        self._check_process()
        with self._changed:
            self._append_chunk(chunk)
            self._changed.notify_all()

    def flush(self) -> None:
        """Make everything final that was fed until now; does not wait, and the stream goes on."""
        self._check_process()
        with self._changed:
            self._mark_flush()
            self._changed.notify_all()

    def finish(self) -> LiveTranscript:
        """No audio follows; waits until everything is final.

        Raises:
            StreamLost: the last look was tried in vain for `give_up_s`.
            AsrError: the stream ended in another way.
            ValueError: the audio ends within a frame; the rest of it is final.
        """
        self._finish()
        with self._changed:
            self._changed.wait_for(self._has_ended)
            return self._whole_transcript()

    def events(self, *, timeout_s: float | None = None) -> Iterator[StreamEvent]:
        """Yield the events as they come, up to the end of the stream.

        Args:
            timeout_s: return when so many seconds brought no event; 0 yields what is there, None
                waits for the end of the stream.

        Raises:
            AsrError: the stream ended; its subclasses say how.
        """
        while (event := self._next_event(timeout_s)) is not None:
            yield event

    @property
    def pending(self) -> bytes:
        """The PCM that is not final."""
        with self._changed:
            return b"" if self._core is None else self._core.kept

    def _next_event(self, timeout_s: float | None) -> StreamEvent | None:
        """The next event; None at the end, or when the time is over."""
        self._check_process()
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._has_ended(), timeout_s)
            if self._events:
                return self._events.popleft()
            self._raise_error()
            return None

    def _room(self, pcm: bytes) -> bool:
        with self._changed:
            return self._has_room(pcm)

    def _feed(self, pcm: bytes) -> None:
        self._check_process()
        with self._changed:
            self._append(pcm)
            self._changed.notify_all()

    def _finish(self) -> None:
        self._check_process()
        with self._changed:
            self._mark_finish()
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while (look := self._next()) is not None:
                self._send(look)
        except BaseException as error:
            # The caller's next call raises it.
            with self._changed:
                self._fail(error)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _next(self) -> Look | None:
        """Wait for the look that is due; None at the end of the stream."""
        with self._changed:
            while not self._closing and not self._is_finished():
                self._client._check_open()
                wait_s = CLOSED_POLL_S
                if self._core is not None:
                    now = time.monotonic()
                    look = self._core.next_look(now)
                    if look is not None:
                        return look
                    wait_s = min(wait_s, self._core.wait_s(now) or wait_s)
                self._changed.wait(wait_s)
        return None

    def _send(self, look: Look) -> None:
        call = self._client._look_call(look)
        call.cancellable = True
        with self._changed:
            self._call = call
            if self._closing:
                return
        try:
            with call.watch.call(call.request_id, SPAN):
                response = self._client._sender.send(call, "ModelInfer", self._request(call, look))
                found = self._result(call, response)
        except AsrError as error:
            if self._client._sender.connections.closed:
                raise
            with self._changed:
                if not self._closing:
                    several = self._client._servers.several
                    events = self._begin().failed(error, time.monotonic(), several=several)
                    self._take(events)
        else:
            with self._changed:
                self._answered(call, found, time.monotonic())
        finally:
            with self._changed:
                self._call = None
                self._changed.notify_all()
