"""What the two clients share: their settings and the steps of a call that need no waiting."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeAlias, TypeVar

from asr_client import _audio, _core, _errors, _wire
from asr_client._access import Access, TlsConfig
from asr_client._retry import RetryPolicy
from asr_client._types import Audio, Encoding, ModelStatus, ServerStatus, Transcript

DEFAULT_TIMEOUT_S = 300.0
DEFAULT_STATUS_TIMEOUT_S = 5.0
READY_POLL_S = 0.25
MODELS = (_wire.MODEL, _wire.ACOUSTIC_MODEL)

_T = TypeVar("_T")
Steps: TypeAlias = Generator[tuple[str, dict[str, Any]], Any, _T]
"""Yields method and fields, is sent the response, returns the outcome: one script, two clients."""

_ONCE = RetryPolicy(max_attempts=1)


class BaseClient:
    """Settings of a client; holds no connection."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy | None = None,
        token: str | None = None,
        tls: TlsConfig | None = None,
    ) -> None:
        if not isinstance(url, str) or not url or "://" in url.replace("dns:///", ""):
            raise ValueError(f"url is {url!r}, not HOST:PORT")
        _core.check_timeout(timeout_s)
        self._url = url
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._access = Access(token, tls)
        self._closed = False

    @property
    def url(self) -> str:
        """The server's address."""
        return self._url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed")

    def _call(self, timeout_s: float | None, retry: RetryPolicy | None) -> _core.Call:
        self._check_open()
        return _core.Call(
            address=self._url,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            policy=retry or self._retry,
        )

    def _closed_during(self, call: _core.Call) -> _errors.AsrError:
        return call.error(_errors.Cancelled, "CANCELLED", "the client was closed")

    def _status_call(self, timeout_s: float) -> _core.Call:
        return self._call(timeout_s, _ONCE)

    def _infer_request(
        self,
        call: _core.Call,
        audio: Audio,
        options: Mapping[str, object],
        *,
        sample_rate: int | None,
        channels: int | None,
        encoding: Encoding,
    ) -> Any:
        """Read and encode the audio; slow for large ones."""
        payload = _audio.load(audio, sample_rate=sample_rate, channels=channels, encoding=encoding)
        return _wire.infer_request(
            request_id=call.request_id,
            audio=payload.data,
            options=_core.options_json(payload, options),
        )

    def _transcript(self, call: _core.Call, response: Any) -> Transcript:
        try:
            return _core.transcript(_wire.result(response), request_id=call.request_id)
        except _wire.ContractError as error:
            raise call.error(_errors.InvalidResponse, "OK", str(error)) from error


def ready_steps() -> Steps[bool]:
    """Ask whether all models are ready."""
    for name in MODELS:
        if not (yield "ModelReady", {"name": name}).ready:
            return False
    return True


def status_steps() -> Steps[ServerStatus]:
    """Ask all that `ServerStatus` holds."""
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
        models=tuple(models),
    )
