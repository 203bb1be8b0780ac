"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from asr_client import _audio, _base, _errors, _many, _recording, _wire
from asr_client._errors import StreamLost
from asr_client._many import AsyncItems as Items
from asr_client._many import AsyncOutcomes as Outcomes
from asr_client._options import TranscribeOptions, takes_options, with_defaults
from asr_client._recording import ItemT
from asr_client._stream.async_live import AsyncLiveStream as LiveStream
from asr_client._stream.form import GIVE_UP_S, MAX_BEHIND_S, StreamSettings, encoder_of
from asr_client._telemetry import OnAttempt
from asr_client._tls import TlsConfig
from asr_client._transport.async_sender import AsyncSender
from asr_client._transport.call import Call
from asr_client._transport.retry import RetryPolicy
from asr_client._types import (
    Audio,
    Channel,
    Compression,
    Decoder,
    Encoding,
    ServerInfo,
    ServerStatus,
    Timestamps,
    Transcript,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

_T = TypeVar("_T")


class AsyncClient(_base.BaseClient):
    """The client for asyncio; any number of tasks of one event loop may share it.

    The client opens nothing before its first call. `close`, or the end of an `async with` block,
    ends the calls of other tasks with `Cancelled`. A cancelled task cancels its call on the server.

    Args:
        url: HOST:PORT of the server's gRPC endpoint, several of them, or `dns:///NAME:PORT` for
            all addresses that the name has. Calls are spread over the servers that are ready.
        timeout_s: the time limit of each `transcribe` that has none of its own, in seconds.
        retry: the retry policy; `RetryPolicy(max_attempts=1)` switches retries off.
        token: the content of the server's `--token-file`. The client sends it with every call and
            shows it nowhere.
        tls: for a server with certificates; None means plain text.
        compression: gRPC compresses requests. It helps samples and WAV over slow networks, and
            costs processor time.
        max_audio_bytes: larger audio is not sent; the call ends with AUDIO_TOO_LARGE at once. For
            servers whose `--max-audio-bytes` is not the default.
        on_attempt: a hook for metrics. It gets an `Attempt` at the end of each attempt to send a
            recording, in the thread or event loop of the call.

    Raises:
        ValueError: an argument is out of its range.
        OSError: a certificate file cannot be read.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        timeout_s: float = _base.DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        token: str | None = None,
        tls: TlsConfig | None = None,
        compression: Compression | None = None,
        max_audio_bytes: int = _base.DEFAULT_MAX_AUDIO_BYTES,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        super().__init__(
            url,
            timeout_s=timeout_s,
            retry=retry,
            token=token,
            tls=tls,
            compression=compression,
            max_audio_bytes=max_audio_bytes,
            on_attempt=on_attempt,
        )
        self._sender = AsyncSender(self._servers, self._access, self._compression)

    @takes_options
    async def transcribe(
        self,
        audio: Audio,
        *,
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            audio: a path, the bytes of an audio file, a file object opened in binary mode, or a
                numpy array of samples, `[samples]` or `[samples, channels]`, of any integer or
                float dtype. Full scale is 1 for floats and the dtype's range for integers.
            retry: the retry policy of this call; None means the client's.
            timeout_s: the time limit of the whole call in seconds, with reading, retries and
                waits; None means the client's. The server drops the work when the time is over.
            request_id: the id of the call in your logs and the server's, such as that of the
                request that you serve, 1 to 128 characters; None means a new one.
            **options: as `TranscribeOptions` lists them.

        Raises:
            AsrError: the call failed; its subclasses say how.
            TypeError, ValueError: an argument is wrong; nothing was sent.
            OSError: the file cannot be read; nothing was sent.
        """
        chosen = with_defaults(options)
        call = self._call(timeout_s, retry, request_id=request_id)
        with call.watch.call(call.request_id):
            request = await self._prepared(call, audio, chosen)
            return self._transcript(call, await self._sender.send(call, "ModelInfer", request))

    @takes_options
    def transcribe_many(
        self,
        items: Items[ItemT],
        *,
        concurrency: int = _many.DEFAULT_CONCURRENCY,
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
        **options: Unpack[TranscribeOptions],
    ) -> Outcomes[ItemT]:
        """Transcribe many recordings in parallel, and yield results as they finish.

        At most `concurrency` items are in memory, so `items` may be endless. Finished results are
        yielded before the next item is requested. A recording that fails has its error as result,
        and the others go on. When the server is busy, the number in flight is halved and then
        grows again slowly. A refused recording is sent again, unless the server has accepted none
        for `timeout_s`, or `retry` allows only one attempt.

        The end of the iteration (`close` or `aclose` of the iterator, an exception, Ctrl-C)
        cancels the recordings in flight and waits for their end. Close an asynchronous iterator
        with `contextlib.aclosing`: Python closes it late when a loop is only left.

        Args:
            items: each a `Recording`, or audio as `transcribe` takes it. `Client` iterates in the
                caller's thread. `AsyncClient` also takes asynchronous iterables; use one when the
                next item may take time.
            concurrency: the maximum number of recordings in flight.
            retry: the retry policy of each recording; None means the client's.
            timeout_s: the time limit of each recording in seconds, from when it is sent. It begins
                again when a recording is sent again because the server was busy.
            **options: those of `transcribe`, for every item. The options of a `Recording` override
                them.

        Raises:
            ValueError: concurrency or timeout_s is not a positive number.
            TypeError: items cannot be iterated.
            RuntimeError: the client is closed.
        """
        plan: _many.Plan[ItemT] = self._plan(concurrency, with_defaults(options), retry, timeout_s)
        return _many.in_tasks(_many.iterator(items), plan, self._send_job)

    def stream(
        self,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
        encoding: Encoding | None = None,
        timestamps: Timestamps = "word",
        channel: Channel = "mix",
        decoder: Decoder = "greedy",
        beam_width: int | None = None,
        hotwords: Sequence[str] | None = None,
        hotword_weight: float | None = None,
        language: str | None = None,
        interim: bool = True,
        endpoint_silence_s: float | None = None,
        max_segment_s: float | None = None,
        max_behind_s: float = MAX_BEHIND_S,
        give_up_s: float = GIVE_UP_S,
        resume: StreamLost | None = None,
    ) -> LiveStream:
        """Recognise audio while it is spoken.

        The result is a context manager: feed it by its `run`, or by its `feed` and `events`. The
        client keeps the audio that is not final, and calls `transcribe_stream` with it: a *look*,
        every `max(0.4 s, 0.1 x open segment)` of new audio, one at a time. A look that fails is
        replaced by the next one, at another server where there is one. Only the look at the end is
        sent again, by the client's retry policy.

        Args:
            sample_rate: in Hz; needed unless `resume` has it.
            channels: of raw PCM; by default 1, or those of the first array.
            encoding: of raw PCM: "pcm_s16le" (the default) or "pcm_f32le"; arrays have their own.
            timestamps: which times: "none", "word" (the default), or "char" for words and, in
                finals, characters.
            channel: by default "mix", the mean of all channels; otherwise a channel's index. Use a
                stream for each channel instead of "separate".
            decoder: by default "greedy"; "beam" is the other one.
            beam_width: texts that the beam decoder keeps at each frame, 1 to 1000.
            hotwords: words that the beam decoder prefers, at most 100 of at most 200 letters.
            hotword_weight: added to a text's log-probability for each hot word, 0 to 100.
            language: for checkpoints with language adapters.
            interim: False asks for finals only, which costs the server less.
            endpoint_silence_s: a pause this long ends a segment, 0.2 to 5 s; 0.5 by default.
            max_segment_s: a segment without a pause is cut here; 15 s by default.
            max_behind_s: maximum seconds of audio that no look has reached.
            give_up_s: time limit in seconds of the look that ends or flushes the stream.
            resume: the `StreamLost` of an earlier stream, which goes on where that one was.

        Raises:
            TypeError, ValueError: an argument is wrong.
            RuntimeError: the client is closed.
        """
        self._check_open()
        settings = StreamSettings(
            interim=interim,
            max_segment_s=max_segment_s,
            max_behind_s=max_behind_s,
            give_up_s=give_up_s,
        )
        options = {
            "timestamps": timestamps,
            "channel": channel,
            "decoder": decoder,
            "beam_width": beam_width,
            "hotwords": hotwords,
            "hotword_weight": hotword_weight,
            "language": language,
            "endpoint_silence_s": endpoint_silence_s,
            "max_segment_s": max_segment_s,
        }
        encoder = encoder_of(sample_rate, channels, encoding, resume)
        return LiveStream(self, settings, encoder, options, resume)

    async def is_ready(self, *, timeout_s: float = _base.DEFAULT_STATUS_TIMEOUT_S) -> bool:
        """Whether a server answers and both its models are ready; raises no AsrError."""
        call = self._status_call(timeout_s)
        try:
            return await self._any_ready(call)
        except _errors.AsrError:
            return False

    async def wait_until_ready(self, timeout_s: float = _base.DEFAULT_TIMEOUT_S) -> None:
        """Return as soon as `is_ready` is true.

        Raises:
            DeadlineExceeded: it was not true within `timeout_s` seconds; `__cause__` is the reason.
        """
        call = self._status_call(timeout_s)
        while True:
            # One probe must not use all the time: the next one may find a server that came back.
            probe = self._status_call(min(_base.DEFAULT_STATUS_TIMEOUT_S, call.remaining_s()))
            try:
                if await self._any_ready(probe):
                    return
            except _errors.AsrError as error:
                call.remember(error)
            await self._sender.pause(call, min(_base.READY_POLL_S, call.remaining_s()))

    async def status(self, *, timeout_s: float = _base.DEFAULT_STATUS_TIMEOUT_S) -> ServerStatus:
        """The state of the server and its models; of several servers, of the first that answers.

        Raises:
            AsrError: no server answered.
        """
        return await self._of_first(timeout_s, _base.status_steps)

    async def info(self, *, timeout_s: float = _base.DEFAULT_STATUS_TIMEOUT_S) -> ServerInfo:
        """What the server serves; of several servers, what the first that answers serves.

        Raises:
            AsrError: no server answered, or the model `transcribe` is not loaded.
        """
        return await self._of_first(timeout_s, _base.info_steps)

    async def close(self) -> None:
        """End the calls in flight and close all connections; may be called again."""
        await self._sender.close()

    async def __aenter__(self) -> AsyncClient:
        self._check_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _prepared(self, call: Call, audio: Audio, options: dict[str, Any]) -> Any:
        if not _audio.may_block(audio):
            return self._infer_request(call, audio, options)
        work = asyncio.ensure_future(asyncio.to_thread(self._infer_request, call, audio, options))
        try:
            # Before Python 3.12 `wait_for` loses a cancellation that comes as the work ends.
            while not work.done():
                await asyncio.wait({work}, timeout=call.remaining_s())
            return work.result()
        finally:
            work.cancel()

    async def _send_job(self, job: _many.Job[Any]) -> Transcript:
        with job.call.watch.call(job.call.request_id):
            if job.request is None:
                audio, options = _recording.merged(job.item, job.options)
                job.request = await self._prepared(job.call, audio, options)
            return self._transcript(
                job.call, await self._sender.send(job.call, "ModelInfer", job.request)
            )

    async def _any_ready(self, call: Call) -> bool:
        await self._sender.find_servers(call)
        for turn in self._one_by_one(call):
            ready = False
            try:
                ready = await self._run(turn, _base.ready_steps())
            except _errors.AsrError as error:
                call.remember(error)
                if isinstance(error, _errors.DeadlineExceeded):
                    # The caller's timeout may be too short even for a healthy server.
                    self._servers.doubt(turn.address)
                    continue
            self._servers.note_ready(turn.address, ready=ready)
            if ready:
                return True
        call.raise_last()
        return False

    async def _of_first(self, timeout_s: float, steps: Callable[[str], _base.Steps[_T]]) -> _T:
        """Run the steps on one server after another until one answers."""
        call = self._status_call(timeout_s)
        await self._sender.find_servers(call)
        for turn in self._one_by_one(call):
            try:
                return await self._run(turn, steps(turn.address))
            except _errors.AsrError as error:
                call.remember(error)
        call.raise_last()
        raise AssertionError("there is at least one server")

    async def _run(self, call: Call, steps: _base.Steps[_T]) -> _T:
        response = None
        try:
            while True:
                method, fields = steps.send(response)
                response = await self._sender.send(call, method, _wire.request(method, **fields))
        except StopIteration as end:
            value: _T = end.value
            return value
