"""`/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

import math
import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from asr_client import AsyncClient

CACHE_S = 1.0
"""For so long an answer of asr-server about its readiness counts."""
READY_TIMEOUT_S = 2.0

router = APIRouter(tags=["health"])


class Readiness:
    """Whether the gateway can serve requests: asr-server is ready, and no stop has begun."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._server_ready = False
        self._asked_s = -math.inf
        self.draining = False

    def forget(self) -> None:
        """Ask asr-server anew at the next check."""
        self._asked_s = -math.inf

    async def check(self) -> dict[str, object]:
        """`ready` and its parts."""
        now = time.monotonic()
        if now - self._asked_s >= CACHE_S:
            self._server_ready = await self._client.is_ready(timeout_s=READY_TIMEOUT_S)
            self._asked_s = now
        return {
            "ready": self._server_ready and not self.draining,
            "server_ready": self._server_ready,
            "draining": self.draining,
        }


@router.get("/livez", summary="Whether the process answers")
async def livez() -> dict[str, bool]:
    """200 as long as the process answers."""
    return {"live": True}


@router.get("/readyz", summary="Whether requests can be served", responses={503: {}})
async def readyz(request: Request) -> JSONResponse:
    """200 when asr-server is ready and the gateway is not stopping, else 503."""
    state = await request.app.state.gateway.readiness.check()
    return JSONResponse(state, status_code=200 if state["ready"] else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The gateway's metrics in Prometheus' text format."""
    page = request.app.state.gateway.metrics.page()
    return Response(page, media_type=CONTENT_TYPE_LATEST)
