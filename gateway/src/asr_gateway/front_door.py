"""The first stop of every request: its id, admission, the log line, metrics, the last resort."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr_gateway.console import logger
from asr_gateway.errors import ApiError, internal_error, unavailable
from asr_gateway.metrics import Metrics

REQUEST_ID = "x-request-id"
CALL_ID = "x-asr-call-id"
"""Names the call to asr-server, as asr-server's own log does."""
CACHE_MARK = "x-asr-cache"
"""How the cache answered: hit, joined, miss or bypass; absent without a cache."""
GONE = 499
"""The status, in metrics and log, of a request whose caller went away."""
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_QUIET = ("/livez", "/readyz", "/metrics")


class FrontDoor:
    """Wraps the application.

    Args:
        app: what answers.
        admit: looks at a request's path and headers, puts what it finds into its state, and raises
            ApiError for one that is refused.
        metrics: of the gateway.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        admit: Callable[[str, Headers, dict[str, Any]], None],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._admit = admit
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Visit(scope, receive, send, self._metrics).serve(self._app, self._admit)


class _Visit:
    """One request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, metrics: Metrics) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._status = 0
        self._began_s = time.perf_counter()
        self._headers = Headers(scope=scope)
        given = self._headers.get(REQUEST_ID, "")
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"] = given if _ID.fullmatch(given) else uuid.uuid4().hex

    async def serve(
        self, app: ASGIApp, admit: Callable[[str, Headers, dict[str, Any]], None]
    ) -> None:
        self._metrics.in_flight.inc()
        try:
            await self._answered(app, admit)
        except ClientDisconnect:
            self._status = self._status or GONE
        finally:
            self._metrics.in_flight.dec()
            self._note()

    async def _answered(
        self, app: ASGIApp, admit: Callable[[str, Headers, dict[str, Any]], None]
    ) -> None:
        try:
            admit(self._scope["path"], self._headers, self._state)
            await app(self._scope, self._receive, self._answer)
        except ApiError as error:
            await self._refuse(error)
        except asyncio.CancelledError:
            # The stop has taken its longest time, or a second signal came.
            await self._refuse(unavailable("The gateway stops.", code="stopping"))
        except ClientDisconnect:
            raise
        except Exception:
            logger.exception("request %s failed", self._state["request_id"])
            await self._refuse(internal_error(self._state["request_id"]))

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._state["request_id"]
            # Answers say what somebody said, or who called.
            headers.setdefault("cache-control", "no-store")
            if call_id := self._state.get("call_id"):
                headers[CALL_ID] = call_id
            if mark := self._state.get("cache_mark"):
                headers[CACHE_MARK] = mark
        try:
            await self._send(message)
        except Exception as error:
            # The connection takes no answer any more: it is closed, or its request was broken.
            raise ClientDisconnect from error

    async def _refuse(self, error: ApiError) -> None:
        if self._status:
            # The answer has begun: all that is left is to break it off.
            raise RuntimeError("the answer broke off") from error
        await error.response(self._scope, self._receive, self._answer)

    def _note(self) -> None:
        took_s = time.perf_counter() - self._began_s
        status = str(self._status or GONE)
        path = getattr(self._scope.get("route"), "path", "other")
        self._metrics.requests.labels(path, status).inc()
        self._metrics.request_seconds.labels(path).observe(took_s)
        if self._scope["path"] not in _QUIET:
            logger.info(
                "%s %s %s %.0f ms key=%s request=%s call=%s",
                self._scope["method"],
                # As it was sent: a decoded path could hold line breaks.
                self._scope["raw_path"].decode("ascii", "backslashreplace"),
                status,
                took_s * 1000,
                getattr(self._state.get("caller"), "name", "-"),
                self._state["request_id"],
                self._state.get("call_id", "-"),
            )
