"""Reports of each call while it runs: to the caller's hook, OpenTelemetry and the log.

With `opentelemetry-api` installed, each call is a span with a child span for each attempt. The
context of the attempt is sent with the request. Without the package there are no spans.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from asr_client import _wire
from asr_client._errors import AsrError
from asr_client._types import ServerHealth

logger = logging.getLogger("asr_client")
logger.addHandler(logging.NullHandler())

_METHOD = f"{_wire.SERVICE}/ModelInfer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt to send a recording to a server, after its end."""

    request_id: str
    """The same for all attempts of a call."""
    number: int
    """Of the attempt within its call, from 1 on."""
    address: str
    """The server."""
    elapsed_s: float
    """Seconds from its start to its end."""
    status: str
    """The gRPC status it ended with, such as `"OK"` or `"UNAVAILABLE"`."""
    error: AsrError | None = None
    """Why it failed."""
    pause_s: float | None = None
    """Seconds until the next attempt; 0 when one is in flight already, None after the last."""
    left_out: str = ""
    """Why the server gets no calls for now; empty while it gets calls."""


OnAttempt: TypeAlias = Callable[[Attempt], None]
"""A caller's hook; called at the end of each attempt."""


class Watcher:
    """Makes the `Watch` of each call of a client.

    Args:
        on_attempt: the caller's hook, called in the thread or the event loop of the call.
    """

    def __init__(self, on_attempt: OnAttempt | None = None) -> None:
        self._on_attempt = on_attempt
        self._tracing = _Tracing.installed()

    def watch(self) -> Watch:
        """The watch of one call."""
        return Watch(self._on_attempt, self._tracing)


class Watch:
    """Reports one call; used by the thread or task of the call alone."""

    def __init__(self, on_attempt: OnAttempt | None = None, tracing: _Tracing | None = None):
        self._on_attempt = on_attempt
        self._tracing = tracing
        self.attempt: Attempt | None = None
        """Of the attempts that ended, the one with the highest number."""

    @contextlib.contextmanager
    def call(self, request_id: str, name: str = "asr.transcribe") -> Iterator[None]:
        """Report the whole call, with the reading of the audio, as a span of this name."""
        if self._tracing is None:
            yield
            return
        with self._tracing.call(request_id, name) as span:
            try:
                yield
            finally:
                if self.attempt is not None:
                    span.set_attribute("asr.attempts", self.attempt.number)

    def began(self, number: int, address: str) -> Any:
        """Report the start of an attempt; returns its span, or None without OpenTelemetry."""
        return None if self._tracing is None else self._tracing.attempt(number, address)

    def headers(self, span: Any) -> tuple[tuple[str, str], ...]:
        """The trace context as gRPC metadata."""
        return () if self._tracing is None else self._tracing.headers(span)

    def ended(self, attempt: Attempt, span: Any) -> None:
        """Report the end of an attempt."""
        if self.attempt is None or attempt.number > self.attempt.number:
            self.attempt = attempt
        if self._tracing is not None:
            self._tracing.end(span, attempt)
        _log(attempt)
        if self._on_attempt is not None:
            try:
                self._on_attempt(attempt)
            except Exception:
                # A failing metric must not cost a transcript.
                logger.exception("on_attempt failed", extra={"asr_request_id": attempt.request_id})


def log_server(server: ServerHealth) -> None:
    """Log that a server is left out, or taken back."""
    if server.left_out:
        fields = {
            "asr_address": server.address,
            "asr_state": server.state,
            "asr_reason": server.reason,
        }
        logger.info("server left out", extra=fields)
    else:
        logger.info("server taken back", extra={"asr_address": server.address})


def _log(attempt: Attempt) -> None:
    level = logging.DEBUG if attempt.pause_s is None else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields: dict[str, Any] = {
        "asr_request_id": attempt.request_id,
        "asr_attempt": attempt.number,
        "asr_address": attempt.address,
        "asr_elapsed_s": attempt.elapsed_s,
        "asr_status": attempt.status,
    }
    if attempt.error is not None:
        fields["asr_code"] = attempt.error.code
        fields["asr_server_message"] = attempt.error.server_message
    if attempt.pause_s is None:
        logger.log(level, "attempt ended", extra=fields)
    else:
        fields["asr_pause_s"] = attempt.pause_s
        logger.log(level, "attempt failed, trying again", extra=fields)


class _Tracing:
    """The parts of OpenTelemetry's API that the client uses."""

    def __init__(self, trace: Any, propagate: Any) -> None:
        self._trace = trace
        self._propagate = propagate
        self._tracer = trace.get_tracer("asr_client")

    @classmethod
    def installed(cls) -> _Tracing | None:
        """The API, or None when the package is missing."""
        try:
            from opentelemetry import propagate, trace
        except ImportError:
            return None
        return cls(trace, propagate)

    def call(self, request_id: str, name: str) -> contextlib.AbstractContextManager[Any]:
        """The current span; it records an exception that leaves it."""
        attributes = {"asr.request_id": request_id}
        made: contextlib.AbstractContextManager[Any] = self._tracer.start_as_current_span(
            name, attributes=attributes
        )
        return made

    def attempt(self, number: int, address: str) -> Any:
        """A child of the current span, by the semantic conventions for gRPC."""
        host, _, port = address.rpartition(":")
        return self._tracer.start_span(
            _METHOD,
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": _METHOD,
                "server.address": host or address,
                "server.port": int(port) if port.isdecimal() else 0,
                "asr.attempt": number,
            },
        )

    def headers(self, span: Any) -> tuple[tuple[str, str], ...]:
        """The context of the span, as the configured propagators write it."""
        carrier: dict[str, str] = {}
        # Without an SDK, older versions of the API make invalid spans; send the caller's context.
        valid = span.get_span_context().is_valid
        context = self._trace.set_span_in_context(span) if valid else None
        self._propagate.inject(carrier, context)
        return tuple((key.lower(), value) for key, value in carrier.items())

    def end(self, span: Any, attempt: Attempt) -> None:
        """End the span with the result of the attempt."""
        if span.is_recording():
            span.set_attribute("rpc.response.status_code", attempt.status)
            if attempt.error is not None:
                span.set_attribute("error.type", attempt.status)
                if attempt.error.code is not None:
                    span.set_attribute("asr.code", attempt.error.code)
                span.set_status(self._trace.StatusCode.ERROR, str(attempt.error))
        span.end()
