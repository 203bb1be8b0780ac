"""The base of the two clients: settings, and the steps of a call that do not wait."""

from __future__ import annotations

import operator
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, get_args

from asr_client import _audio, _errors, _json, _many, _wire
from asr_client._recording import ItemT
from asr_client._stream.look import Look
from asr_client._telemetry import OnAttempt, Watch, Watcher, log_server
from asr_client._tls import TlsConfig
from asr_client._transport.budget import RetryBudget
from asr_client._transport.call import Call, check_timeout
from asr_client._transport.channels import Access
from asr_client._transport.pace import Pace
from asr_client._transport.retry import RetryPolicy
from asr_client._transport.servers import Servers
from asr_client._types import (
    Audio,
    Compression,
    ModelStatus,
    ServerHealth,
    ServerInfo,
    ServerStatus,
    Transcript,
)

DEFAULT_TIMEOUT_S = 300.0
DEFAULT_STATUS_TIMEOUT_S = 5.0
DEFAULT_MAX_AUDIO_BYTES = 256 * 2**20
"""The contract's default; a server may have another limit."""
READY_POLL_S = 0.25
MODELS = (_wire.MODEL, _wire.ACOUSTIC_MODEL)

_T = TypeVar("_T")
Steps: TypeAlias = Generator[tuple[str, dict[str, Any]], Any, _T]
"""Yields a method and its fields, receives the response, and returns the outcome.

Both clients run the same steps."""

_ONCE = RetryPolicy(max_attempts=1)


class BaseClient:
    """Settings of a client; holds no connection."""

    _sender: Any
    """Sends requests and holds the connections."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        token: str | None = None,
        tls: TlsConfig | None = None,
        compression: Compression | None = None,
        max_audio_bytes: int = DEFAULT_MAX_AUDIO_BYTES,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        targets = _targets(url)
        check_timeout(timeout_s)
        if operator.index(max_audio_bytes) < 1:
            raise ValueError(f"max_audio_bytes is {max_audio_bytes}, at least 1 is needed")
        if compression not in (None, *get_args(Compression)):
            raise ValueError(f"compression is {compression!r}, not one of gzip, deflate, None")
        if not (on_attempt is None or callable(on_attempt)):
            raise TypeError(f"on_attempt is {on_attempt!r}, which cannot be called")
        self._url = ",".join(targets)
        self._servers = Servers(targets, on_change=log_server)
        self._budget = RetryBudget()
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._access = Access(token, tls)
        self._compression = compression
        self._max_audio_bytes = max_audio_bytes
        self._watcher = Watcher(on_attempt)

    @property
    def url(self) -> str:
        """The server's address; several are joined by commas."""
        return self._url

    @property
    def servers(self) -> tuple[ServerHealth, ...]:
        """The state of each server as the client knows it; sends nothing."""
        return self._servers.views

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def _check_open(self) -> None:
        self._sender.connections.check()

    def _call(
        self,
        timeout_s: float | None,
        retry: RetryPolicy | None,
        watch: Watch | None = None,
        avoid: Sequence[str] = (),
        request_id: str | None = None,
    ) -> Call:
        self._check_open()
        return Call(
            address=self._url,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            policy=retry or self._retry,
            servers=self._servers,
            budget=self._budget,
            watch=watch or self._watcher.watch(),
            avoid=avoid,
            request_id=request_id,
        )

    def _look_call(self, look: Look) -> Call:
        """A look is sent once: the next one has its audio. Only the last one is sent again."""
        policy = self._retry if look.end else _ONCE
        return self._call(look.timeout_s, policy, avoid=look.avoid)

    def _status_call(self, timeout_s: float) -> Call:
        return self._call(timeout_s, _ONCE, Watch())

    def _one_by_one(self, call: Call) -> Iterator[Call]:
        """A call to each server; the calls share the time that is left."""
        addresses = self._servers.addresses
        for position, address in enumerate(addresses):
            share_s = call.remaining_s() / (len(addresses) - position)
            yield Call(address=address, timeout_s=share_s, policy=_ONCE)

    def _plan(
        self,
        concurrency: int,
        options: dict[str, Any],
        retry: RetryPolicy | None,
        timeout_s: float | None,
    ) -> _many.Plan[ItemT]:
        """Check the arguments of `transcribe_many` before its first item."""
        self._check_open()
        policy = retry or self._retry
        patience_s = self._timeout_s if timeout_s is None else timeout_s
        check_timeout(patience_s)
        if operator.index(concurrency) < 1:
            raise ValueError(f"concurrency is {concurrency}, at least 1 is needed")

        def job(item: ItemT) -> _many.Job[ItemT]:
            call = self._call(timeout_s, retry)
            call.yield_on_busy = policy.max_attempts > 1
            return _many.Job(item=item, call=call, options=options)

        pace = Pace(concurrency, policy=policy, patience_s=patience_s)
        return _many.Plan(concurrency=concurrency, pace=pace, job=job, check=self._check_open)

    def _infer_request(
        self,
        call: Call,
        audio: Audio,
        options: Mapping[str, Any],
    ) -> Any:
        """Read and encode the audio; slow for large audio."""
        try:
            payload = _audio.load(
                audio,
                sample_rate=options["sample_rate"],
                channels=options["channels"],
                encoding=options["encoding"],
                max_bytes=self._max_audio_bytes,
            )
        except _audio.TooLarge as error:
            code = "AUDIO_TOO_LARGE"
            raise call.error(
                _errors.InvalidAudio, "INVALID_ARGUMENT", f"{code}: {error}", code
            ) from None
        return _wire.infer_request(
            request_id=call.request_id,
            audio=payload.data,
            options=_json.options_json(payload, options),
        )

    def _transcript(self, call: Call, response: Any) -> Transcript:
        try:
            return _json.transcript(_wire.result(response), request_id=call.request_id)
        except _wire.ContractError as error:
            raise call.error(_errors.InvalidResponse, "OK", str(error)) from error


def _targets(url: str | Sequence[str]) -> tuple[str, ...]:
    targets = (url,) if isinstance(url, str) else tuple(url or ())
    for target in targets:
        if not isinstance(target, str) or not target or "://" in target.replace("dns:///", ""):
            raise ValueError(f"url is {url!r}, not HOST:PORT or several of them")
    if not targets:
        raise ValueError(f"url is {url!r}, not HOST:PORT")
    return targets


def ready_steps() -> Steps[bool]:
    """Ask whether both models are ready."""
    for name in MODELS:
        if not (yield "ModelReady", {"name": name}).ready:
            return False
    return True


def status_steps(address: str) -> Steps[ServerStatus]:
    """Ask a server for everything that `ServerStatus` holds."""
    live = (yield "ServerLive", {}).live
    ready = (yield "ServerReady", {}).ready
    metadata = yield "ServerMetadata", {}
    models = []
    for name in MODELS:
        up = (yield "ModelReady", {"name": name}).ready
        versions: tuple[str, ...] = ()
        if up:
            versions = tuple((yield "ModelMetadata", {"name": name}).versions)
        models.append(ModelStatus(name=name, ready=up, versions=versions))
    return ServerStatus(
        live=live,
        ready=ready and all(model.ready for model in models),
        name=metadata.name,
        version=metadata.version,
        address=address,
        models=tuple(models),
    )


def info_steps(address: str) -> Steps[ServerInfo]:
    """Ask a server for the parameters of `transcribe`."""
    parameters = (yield "ModelConfig", {"name": _wire.MODEL}).config.parameters
    given = {name: value.string_value for name, value in parameters.items()}
    return ServerInfo(
        model_id=given.get("model_id") or None,
        model_revision=given.get("model_revision") or None,
        precision=given.get("precision") or None,
        languages=_names(given.get("languages", "")),
        decoders=_names(given.get("decoders", "")),
        language_model=given.get("language_model") or None,
        fingerprint=given.get("fingerprint") or None,
        address=address,
    )


def _names(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(",")) if joined else ()
