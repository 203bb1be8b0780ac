"""HTTP connections with bounds: how many there are, and how long a request's head may take."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.h11_impl import H11Protocol

from asr_gateway.errors import unavailable
from asr_gateway.metrics import Metrics

HEAD_TIMEOUT_S = 20.0
"""A connection that has sent no complete request head for so long is closed."""
_FULL_BODY = json.dumps(
    unavailable("The gateway has too many connections.", code="too_many_connections").body
).encode()
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 2\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_FULL_BODY), _FULL_BODY)
)


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
