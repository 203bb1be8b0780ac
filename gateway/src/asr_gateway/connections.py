"""HTTP connections with bounds: how many there are, and how long a request's head may take."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.h11_impl import H11Protocol

from asr_gateway.errors import ApiError, unavailable
from asr_gateway.metrics import Metrics

HEAD_TIMEOUT_S = 20.0
"""A connection that has sent no complete request head for so long is closed."""


def _last_answer(error: ApiError) -> bytes:
    """An answer that the application does not make, and after which the connection is closed."""
    response = error.response
    response.headers["connection"] = "close"
    head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    phrase = HTTPStatus(error.status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (error.status, phrase, head, response.body)


_FULL = _last_answer(
    unavailable("The gateway has too many connections.", code="too_many_connections")
)
_BROKEN = _last_answer(ApiError(400, "The request is not valid HTTP.", code="bad_request"))


def bounded_protocol(
    metrics: Metrics, *, max_connections: int, head_timeout_s: float = HEAD_TIMEOUT_S
) -> type[H11Protocol]:
    """A class of uvicorn's HTTP protocol with these bounds."""

    class BoundedProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                metrics.connections_refused.inc()
                transport.write(_FULL)
                transport.close()
                return
            self._await_head()

        def data_received(self, data: bytes) -> None:
            if self._between_requests and self._head_timer is None:
                self._await_head()
            super().data_received(data)
            if not self._between_requests:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """The answer to what is no HTTP, in OpenAI's form as all others."""
            if self._between_requests or not self.cycle.response_started:
                self.transport.write(_BROKEN)
            self.transport.close()

        @property
        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(head_timeout_s, self._close_slow)

        def _stop_waiting(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _close_slow(self) -> None:
            self._head_timer = None
            if self._between_requests:
                self.transport.close()

    return BoundedProtocol
