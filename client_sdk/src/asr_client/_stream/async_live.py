"""A live stream for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Any

from asr_client._errors import AsrError
from asr_client._stream.base import CLOSED_POLL_S, SPAN, BaseLive
from asr_client._stream.events import LiveTranscript, StreamEvent
from asr_client._stream.look import Look
from asr_client._types import Chunk


class AsyncLiveStream(BaseLive):
    """Live recognition, from `AsyncClient.stream`; an asynchronous context manager.

    A task of its own makes the looks, one at a time. The end of the `async with` block cancels what
    is under way, and waits for the task; `finish`, or the end of `run`, comes before.
    """

    _task: asyncio.Task[None] | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._changed = asyncio.Event()
        """Set, and replaced, at each change."""
        self._feeders: set[asyncio.Task[None]] = set()
        """Those of `run`, whose iterator may be left unclosed."""

    async def __aenter__(self) -> AsyncLiveStream:
        self._open()
        self._task = asyncio.create_task(self._work())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        self._notify()
        tasks = {*self._feeders, *([self._task] if self._task is not None else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def run(
        self,
        chunks: Iterable[Chunk] | AsyncIterable[Chunk],
    ) -> AsyncIterator[StreamEvent]:
        """Feed all chunks, and yield events as they come, up to the end of the stream.

        A task takes the chunks, no faster than `max_behind_s` allows; it ends with the stream's
        block.

        Args:
            chunks: raw PCM as bytes, or arrays of samples as `transcribe` takes them. Use an
                asynchronous iterable when the next chunk may take time.

        Raises:
            AsrError: the stream ended; its subclasses say how.
            TypeError, ValueError: a chunk is no audio, or of another form than the first.
        """
        self._check_process()
        feeder = asyncio.create_task(self._feed_all(chunks))
        self._feeders.add(feeder)
        feeder.add_done_callback(lambda _: self._notify())
        try:
            while (event := await self._next_event(None, feeder)) is not None:
                yield event
            if (error := _failure(feeder)) is not None:
                raise error
        finally:
            feeder.cancel()
            await asyncio.wait({feeder})
            _failure(feeder)
            self._feeders.discard(feeder)

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
        self._append_chunk(chunk)
        self._notify()

    def flush(self) -> None:
        """Make everything final that was fed until now; does not wait, and the stream goes on."""
        self._check_process()
        self._mark_flush()
        self._notify()

    async def finish(self) -> LiveTranscript:
        """No audio follows; waits until everything is final.

        Raises:
            StreamLost: the last look was tried in vain for `give_up_s`.
            AsrError: the stream ended in another way.
            ValueError: the audio ends within a frame; the rest of it is final.
        """
        self._check_process()
        self._mark_finish()
        self._notify()
        while not self._has_ended():
            await self._changed.wait()
        return self._whole_transcript()

    async def events(self, *, timeout_s: float | None = None) -> AsyncIterator[StreamEvent]:
        """Yield the events as they come, up to the end of the stream.

        Args:
            timeout_s: return when so many seconds brought no event; 0 yields what is there, None
                waits for the end of the stream.

        Raises:
            AsrError: the stream ended; its subclasses say how.
        """
        while (event := await self._next_event(timeout_s)) is not None:
            yield event

    @property
    def pending(self) -> bytes:
        """The PCM that is not final."""
        return b"" if self._core is None else self._core.kept

    async def _feed_all(
        self,
        chunks: Iterable[Chunk] | AsyncIterable[Chunk],
    ) -> None:
        async for chunk in _each(chunks):
            for pcm in self._pieces(chunk):
                give_up_at_s = time.monotonic() + self._settings.give_up_s
                while not self._has_room(pcm) and time.monotonic() < give_up_at_s:
                    await self._wait(CLOSED_POLL_S)
                self._append(pcm)
                self._notify()
            await asyncio.sleep(0)
        self._mark_finish()

    async def _next_event(
        self, timeout_s: float | None, feeder: asyncio.Task[None] | None = None
    ) -> StreamEvent | None:
        """The next event; None at the end, when the feeder failed, or when the time is over."""
        self._check_process()
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._events and not self._has_ended() and _failure(feeder) is None:
            left_s = None if ends_s is None else max(0.0, ends_s - time.monotonic())
            # Most changes bring no event, so the time goes on over them.
            if not await self._wait(left_s):
                break
        if self._events:
            return self._events.popleft()
        self._raise_error()
        return None

    def _notify(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def _wait(self, timeout_s: float | None) -> bool:
        """Wait for a change; returns whether there was one."""
        # Before Python 3.12 `wait_for` loses a cancellation that comes with the event.
        waiter = asyncio.ensure_future(self._changed.wait())
        try:
            done, _ = await asyncio.wait({waiter}, timeout=timeout_s)
            return bool(done)
        finally:
            waiter.cancel()

    async def _work(self) -> None:
        try:
            while (look := await self._next()) is not None:
                await self._send(look)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # The caller's next call raises it.
            self._fail(error)
        finally:
            self._notify()

    async def _next(self) -> Look | None:
        """Wait for the look that is due; None at the end of the stream."""
        while not self._closing and not self._is_finished():
            self._client._check_open()
            wait_s = CLOSED_POLL_S
            if self._core is not None:
                now = time.monotonic()
                look = self._core.next_look(now)
                if look is not None:
                    return look
                wait_s = min(wait_s, self._core.wait_s(now) or wait_s)
            await self._wait(wait_s)
        return None

    async def _send(self, look: Look) -> None:
        call = self._client._look_call(look)
        try:
            with call.watch.call(call.request_id, SPAN):
                request = self._request(call, look)
                response = await self._client._sender.send(call, "ModelInfer", request)
                found = self._result(call, response)
        except AsrError as error:
            if self._client._sender.connections.closed:
                raise
            several = self._client._servers.several
            self._take(self._begin().failed(error, time.monotonic(), several=several))
        else:
            self._answered(call, found, time.monotonic())
        finally:
            self._notify()


def _failure(feeder: asyncio.Task[None] | None) -> BaseException | None:
    """The error of a task that has ended; none of a cancelled one."""
    if feeder is None or not feeder.done() or feeder.cancelled():
        return None
    return feeder.exception()


async def _each(
    chunks: Iterable[Chunk] | AsyncIterable[Chunk],
) -> AsyncIterator[Chunk]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
    else:
        for chunk in chunks:
            yield chunk
