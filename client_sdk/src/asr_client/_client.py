"""The client for threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc

from asr_client import _base, _core, _errors, _wire
from asr_client._access import TlsConfig
from asr_client._retry import RetryPolicy
from asr_client._types import (
    Audio,
    Channel,
    Decoder,
    Encoding,
    ServerStatus,
    Timestamps,
    Transcript,
)

_T = TypeVar("_T")


class Client(_base.BaseClient):
    """Calls the service from ordinary code; one client may serve any number of threads.

    Nothing is opened before the first call. `close`, or the end of a `with` block, ends the calls
    of other threads with `Cancelled`. A file that blocks while it is read, such as a pipe, holds
    the call beyond its timeout; everything else ends with it.

    Args:
        url: HOST:PORT of the server's gRPC endpoint.
        timeout_s: bounds each `transcribe` that does not say otherwise, in seconds.
        retry: how calls are retried; `RetryPolicy(max_attempts=1)` switches retries off.
        token: what the server's `--token-file` holds; sent with every call and shown nowhere.
        tls: for a server with certificates; None connects in plain text.

    Raises:
        ValueError: an argument that cannot be right.
        OSError: a certificate's file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = _base.DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        token: str | None = None,
        tls: TlsConfig | None = None,
    ) -> None:
        super().__init__(url, timeout_s=timeout_s, retry=retry, token=token, tls=tls)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._channel: Any = None
        self._stub: Any = None

    def transcribe(
        self,
        audio: Audio,
        *,
        sample_rate: int | None = None,
        channels: int | None = None,
        encoding: Encoding = "container",
        timestamps: Timestamps = "word",
        channel: Channel = "mix",
        decoder: Decoder = "greedy",
        beam_width: int | None = None,
        hotwords: Sequence[str] | None = None,
        hotword_weight: float | None = None,
        language: str | None = None,
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            audio: a path, the bytes of an audio file, a file object opened in binary mode, or a
                numpy array of samples, `[samples]` or `[samples, channels]`, of any integer or
                float dtype. Full scale is 1 for floats and the dtype's range for integers.
            sample_rate: in Hz; needed for arrays and raw samples, refused for audio files.
            channels: needed for raw samples, refused for all else.
            encoding: "container" for audio files; "pcm_s16le" or "pcm_f32le" says that bytes or
                a file are raw samples, channels interleaved.
            timestamps: "none", "word", or "char" for words and characters.
            channel: "mix" for the mean of all channels, a channel's index, or "separate".
            decoder: "greedy" or "beam".
            beam_width: of the beam decoder.
            hotwords: words that the beam decoder should prefer.
            hotword_weight: how much it should.
            language: for checkpoints with language adapters.
            retry: how this call is retried; None is the client's way.
            timeout_s: bounds the whole call in seconds, reading, retries and waits included; None
                is the client's. The server drops the work when it is over.

        Raises:
            AsrError: the call failed; its subclasses say how.
            TypeError, ValueError: the arguments do not fit together; nothing was sent.
            OSError: the file cannot be read; nothing was sent.
        """
        call = self._call(timeout_s, retry)
        request = self._infer_request(
            call,
            audio,
            {
                "timestamps": timestamps,
                "channel": channel,
                "decoder": decoder,
                "beam_width": beam_width,
                "hotwords": hotwords,
                "hotword_weight": hotword_weight,
                "language": language,
            },
            sample_rate=sample_rate,
            channels=channels,
            encoding=encoding,
        )
        return self._transcript(call, self._send(call, "ModelInfer", request))

    def is_ready(self, *, timeout_s: float = _base.DEFAULT_STATUS_TIMEOUT_S) -> bool:
        """Say whether the server is there and both its models are ready; raises no AsrError."""
        call = self._status_call(timeout_s)
        try:
            return self._run(call, _base.ready_steps())
        except _errors.AsrError:
            return False

    def wait_until_ready(self, timeout_s: float = _base.DEFAULT_TIMEOUT_S) -> None:
        """Return as soon as `is_ready` is true.

        Raises:
            DeadlineExceeded: it was not true within `timeout_s` seconds; `__cause__` says why.
        """
        call = self._status_call(timeout_s)
        while True:
            # One probe must not use up the time: the next may find a server that came back.
            probe = self._status_call(min(_base.DEFAULT_STATUS_TIMEOUT_S, call.remaining_s()))
            try:
                if self._run(probe, _base.ready_steps()):
                    return
            except _errors.AsrError as error:
                call.remember(error)
            self._pause(call, min(_base.READY_POLL_S, call.remaining_s()))

    def status(self, *, timeout_s: float = _base.DEFAULT_STATUS_TIMEOUT_S) -> ServerStatus:
        """Ask the server about itself and its models.

        Raises:
            AsrError: no answer.
        """
        return self._run(self._status_call(timeout_s), _base.status_steps())

    def close(self) -> None:
        """End calls in flight and give back all that the client holds; may be called again."""
        with self._lock:
            self._closed = True
            self._closing.set()
            channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            channel.close()

    def __enter__(self) -> Client:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _connected(self) -> Any:
        with self._lock:
            self._check_open()
            if self._stub is None:
                self._channel = self._access.channel(grpc, self._url)
                self._stub = _wire.stub(self._channel)
            return self._stub

    def _send(self, call: _core.Call, method: str, request: Any) -> Any:
        while True:
            timeout_s = call.attempt()
            if method == "ModelInfer":
                _wire.set_timeout(request, timeout_s)
            try:
                send = getattr(self._connected(), method)
                return send(request, timeout=timeout_s, metadata=self._access.metadata)
            except grpc.RpcError as error:
                pause_s = call.failed(*self._access.failure(error))
            except ValueError:
                # What gRPC raises when the channel is closed between the two steps above.
                self._check_open()
                raise
            self._pause(call, pause_s)

    def _pause(self, call: _core.Call, pause_s: float) -> None:
        if self._closing.wait(pause_s):
            raise self._closed_during(call)

    def _run(self, call: _core.Call, steps: _base.Steps[_T]) -> _T:
        response = None
        try:
            while True:
                method, fields = steps.send(response)
                response = self._send(call, method, _wire.request(method, **fields))
        except StopIteration as end:
            value: _T = end.value
            return value
