"""The fake server."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any

import grpc

from asr_client._audio import load
from asr_client._types import Audio, AudioWarning
from asr_client._wire import (
    ACOUSTIC_MODEL,
    MODEL,
    SERVICE,
    STREAM_MODEL,
    TOKEN_HEADER,
    messages,
)
from asr_client.testing import _looks, _model
from asr_client.testing._faults import Fault

MAX_WORKERS = 64
"""Threads; a request holds one until its answer, and health requests need some too."""
HANG_POLL_S = 0.02
PARTING_GRACE_S = 1.0
"""Time that the end of a `with` block gives to calls in flight."""

_METHODS = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
)


@dataclass(frozen=True, kw_only=True)
class ReceivedRequest:
    """One ModelInfer call with valid tensors."""

    audio: bytes
    """AUDIO as it was received: a file, or PCM."""
    options: bytes
    """OPTIONS as it was received: JSON."""
    request_id: str
    timeout_us: int | None
    """The maximum time in Triton's queue that the request asks for, in microseconds."""
    deadline_s: float | None
    """Seconds left until the gRPC deadline on arrival."""
    model: str
    """The model that was called: "transcribe" or "transcribe_stream"."""
    metadata: Mapping[str, str]
    """The gRPC metadata of the call with its trace context, without the token."""
    ended_early: threading.Event = field(default_factory=threading.Event)
    """Set when the caller ended the call before the answer."""


@dataclass
class _Weather:
    """Random failures and delays."""

    chances: dict[Fault, float]
    slow: float
    slow_s: float
    rng: Random

    def draw(self) -> tuple[Fault | None, float]:
        """The failure of a request, if any, and its extra seconds."""
        delay_s = self.slow_s if self.rng.random() < self.slow else 0.0
        left = self.rng.random()
        for fault, chance in self.chances.items():
            left -= chance
            if left < 0:
                return fault, delay_s
        return None, delay_s


class FakeServer:
    """A gRPC server on a free loopback port, with the contract of the real one.

    It answers with `text`, or with the text that `answer` set for this audio. The words are spread
    evenly over the length of the audio. It checks tensors and options like the real server. It
    recognises audio formats by their first bytes, and decodes none of them.

    In live audio, speech is what is louder than a hundredth of full scale. Each segment has the
    text that `transcribe` answers for its PCM, and an interim has its first words.

    Args:
        text: the transcript of all other audio. With several lines, each channel has a line, and
            further channels have the last one; so have the segments of a live stream.
        delay_s: seconds before each answer.
        port: of the loopback interface; 0 takes a free port and keeps it over `stop` and `start`.
        token: the token that callers must send, except for health requests; None requires none.
        keep: the number of last requests that `requests` keeps, with their audio; None keeps all.
    """

    def __init__(
        self,
        text: str = "hello world",
        *,
        delay_s: float = 0.0,
        port: int = 0,
        token: str | None = None,
        keep: int | None = None,
    ) -> None:
        self.text = text
        self.delay_s = delay_s
        self.ready = True
        """False: both models are not ready, and every call fails as on a draining server."""
        self.capacity: int | None = None
        """Maximum number of requests in flight; others are refused as by a full queue."""
        self.parameters: dict[str, str] = {
            "model_id": "fake",
            "model_revision": "1",
            "precision": "fp32",
            "decoders": "greedy,beam",
            "fingerprint": "fake",
        }
        """What `Client.info` reads; transcripts name the same model. Change it to act as another
        model, add `languages` or `language_model`, or empty it to act as an older server."""
        self.streams = True
        """False: it acts as a server without `transcribe_stream`."""
        self._in_work = 0
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._port = port
        self._token = token
        self._answers: dict[bytes, tuple[str, tuple[AudioWarning, ...]]] = {}
        self._faults: deque[Fault] = deque()
        self._weather = _Weather({}, 0.0, 0.0, Random(0))
        self._requests: deque[ReceivedRequest] = deque(maxlen=keep)
        self._stalled_until_s = 0.0
        self._lock = threading.Lock()
        self._server: Any = None
        self._workers: ThreadPoolExecutor | None = None

    @property
    def url(self) -> str:
        """HOST:PORT for a client; known after the first `start`."""
        if not self._port:
            raise RuntimeError("the fake server was not started")
        return f"127.0.0.1:{self._port}"

    @property
    def hung(self) -> bool:
        """Whether it behaves like a server whose models hang.

        It then accepts connections and reports that its models are ready, but answers no
        ModelInfer. When this is false again, it answers the calls that still wait.
        """
        return not self._goes_on.is_set()

    @hung.setter
    def hung(self, hung: bool) -> None:
        if hung:
            self._goes_on.clear()
        else:
            self._goes_on.set()

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """The received requests, also those that failed; `keep` limits their number."""
        with self._lock:
            return tuple(self._requests)

    def answer(
        self,
        audio: Audio,
        text: str,
        *,
        sample_rate: int | None = None,
        warnings: Sequence[AudioWarning] = (),
    ) -> None:
        """Set the answer to this audio; audio and rate as in `transcribe`."""
        payload = load(audio, sample_rate=sample_rate, channels=None, encoding="container")
        with self._lock:
            self._answers[bytes(payload.data)] = (text, tuple(warnings))

    def fail(self, fault: Fault, *, times: int = 1) -> None:
        """Fail the next `times` requests, after the failures set before."""
        with self._lock:
            self._faults.extend([fault] * times)

    def disturb(
        self,
        chances: Mapping[Fault, float],
        *,
        slow: float = 0.0,
        slow_s: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Let requests without a failure set by `fail` fail or be slow at random.

        Args:
            chances: the probability of each failure, between 0 and 1, with a sum of at most 1.
            slow: the probability that a request, failed or not, takes `slow_s` seconds longer.
            slow_s: extra seconds of a slow request.
            seed: the same seed gives the same draws.
        """
        if not 0 <= sum(chances.values()) <= 1 or not 0 <= slow <= 1:
            raise ValueError("chances lie between 0 and 1, all of them together too")
        with self._lock:
            self._weather = _Weather(dict(chances), slow, slow_s, Random(seed))

    def stall(self, duration_s: float) -> None:
        """Answer nothing for so many seconds, then all requests received meanwhile."""
        self._stalled_until_s = time.monotonic() + duration_s

    def start(self) -> None:
        """Listen; does nothing when it listens already."""
        if self._server is not None:
            return
        self._workers = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="fake-asr")
        server = grpc.server(
            self._workers,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(self, f"_{name}"),
                request_deserializer=getattr(messages, f"{name}Request").FromString,
                response_serializer=getattr(messages, f"{name}Response").SerializeToString,
            )
            for name in (*_METHODS, "ModelInfer")
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self._port = server.add_insecure_port(f"127.0.0.1:{self._port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """Drop all connections, like a killed server; may be called again."""
        self._stop(grace_s=None)

    def _stop(self, grace_s: float | None) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop(grace_s).wait()
        if self._workers is not None:
            self._workers.shutdown()

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Without grace, a connection that is being closed logs "Got goaway" to stderr.
        self._stop(grace_s=PARTING_GRACE_S)

    def _ServerLive(self, request: Any, context: Any) -> Any:
        return messages.ServerLiveResponse(live=True)

    def _ServerReady(self, request: Any, context: Any) -> Any:
        return messages.ServerReadyResponse(ready=True)

    def _ServerMetadata(self, request: Any, context: Any) -> Any:
        self._check_token(context)
        return messages.ServerMetadataResponse(name="triton", version="0.0.0-fake")

    def _ModelReady(self, request: Any, context: Any) -> Any:
        known = request.name in self._models
        return messages.ModelReadyResponse(ready=known and self.ready)

    def _ModelMetadata(self, request: Any, context: Any) -> Any:
        self._check_token(context)
        self._check_model(request.name, context)
        answer = messages.ModelMetadataResponse(
            name=request.name, versions=["1"], platform="python"
        )
        inputs, outputs = _model.TENSORS[request.name]
        for tensors, described in ((answer.inputs, inputs), (answer.outputs, outputs)):
            for name, datatype, shape in described:
                tensors.add(name=name, datatype=datatype, shape=shape)
        return answer

    def _ModelConfig(self, request: Any, context: Any) -> Any:
        self._check_token(context)
        self._check_model(request.name, context)
        answer = messages.ModelConfigResponse()
        answer.config.name = request.name
        if request.name == MODEL:
            for name, value in self.parameters.items():
                answer.config.parameters[name].string_value = value
        return answer

    def _ModelInfer(self, request: Any, context: Any) -> Any:
        self._check_token(context)
        self._check_model(request.model_name, context)
        live = request.model_name == STREAM_MODEL
        if not live and request.model_name != MODEL:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake has no acoustic model")
        try:
            audio, options = _model.tensors(request)
            fault = self._record(request, audio, options, context)
            if fault is Fault.NO_OUTPUTS:
                return messages.ModelInferResponse(model_name=request.model_name, id=request.id)
            if fault is not None:
                raise _model.Refused(fault.status, fault.message)
            languages = self.parameters.get("languages", "").split(",")
            given = _model.options(
                options,
                languages=[name for name in languages if name],
                rules=_model.STREAM_RULES if live else _model.RULES,
            )
            if live and given.get("end") and not audio:
                channels, duration = given["channels"], 0.0
            else:
                channels, duration = _model.measure(audio, given)
            if live:
                return _looks.response(
                    audio,
                    given=given,
                    text=self._segment_text,
                    request_id=request.id,
                    model=_model.reported(self.parameters),
                )
        except _model.Refused as refused:
            context.abort(grpc.StatusCode[refused.status], refused.message)
        with self._lock:
            text, warnings = self._answers.get(audio, (self.text, ()))
        return _model.response(
            text,
            given=given,
            channels=channels,
            duration=duration,
            request_id=request.id,
            model=_model.reported(self.parameters),
            warnings=warnings,
        )

    def _segment_text(self, index: int, pcm: bytes) -> str:
        with self._lock:
            text, _ = self._answers.get(pcm, (self.text, ()))
        lines = text.split("\n")
        return lines[min(index, len(lines) - 1)]

    def _record(self, request: Any, audio: bytes, options: bytes, context: Any) -> Fault | None:
        """Note the request, wait for its delay, and return its failure, if any."""
        timeout = request.parameters.get("timeout")
        received = ReceivedRequest(
            audio=audio,
            options=options,
            request_id=request.id,
            model=request.model_name,
            timeout_us=None if timeout is None else timeout.int64_param,
            deadline_s=context.time_remaining(),
            metadata={
                key: value
                for key, value in context.invocation_metadata()
                if key != TOKEN_HEADER and isinstance(value, str)
            },
        )
        with self._lock:
            self._requests.append(received)
            fault, extra_s = self._weather.draw()
            if self._faults:
                fault, extra_s = self._faults.popleft(), 0.0
            if self.capacity is not None and self._in_work >= self.capacity:
                return fault or Fault.QUEUE_FULL
            self._in_work += 1
        try:
            stall_s = self._stalled_until_s - time.monotonic()
            seconds = max(self.delay_s + extra_s, stall_s)
            if seconds > 0:
                self._work(context, received, seconds)
            if self.hung:
                self._hang(context, received)
        finally:
            with self._lock:
                self._in_work -= 1
        return fault

    def _work(self, context: Any, received: ReceivedRequest, seconds: float) -> None:
        gone = threading.Event()
        # False means that the call has ended already and there will be no callback.
        if not context.add_callback(gone.set) or gone.wait(seconds):
            received.ended_early.set()

    def _hang(self, context: Any, received: ReceivedRequest) -> None:
        gone = threading.Event()
        ended = not context.add_callback(gone.set)
        while not ended and not self._goes_on.wait(HANG_POLL_S):
            ended = gone.is_set() or self._server is None
        if ended:
            received.ended_early.set()

    @property
    def _models(self) -> tuple[str, ...]:
        return (MODEL, ACOUSTIC_MODEL, *([STREAM_MODEL] if self.streams else []))

    def _check_token(self, context: Any) -> None:
        if self._token is None:
            return
        if dict(context.invocation_metadata()).get(TOKEN_HEADER) != self._token:
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                f"This protocol is restricted, expecting header '{TOKEN_HEADER}'",
            )

    def _check_model(self, name: str, context: Any) -> None:
        if name not in self._models:
            context.abort(
                grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found"
            )
        if not self.ready:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Request for unknown model: '{name}' has no available versions",
            )
