"""Both clients behind one set of calls."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from asr_client import AsyncClient, Client, RetryPolicy

FAST = RetryPolicy(
    initial_backoff_s=0.001, max_backoff_s=0.002, reconnect_s=0, restart_backoff_s=0.002
)
"""Waits for nothing: not for a server that is gone either."""


class Driver:
    """Either client behind ordinary calls, so that one test covers both."""

    def __init__(self, kind: type[Client] | type[AsyncClient]) -> None:
        self.kind = kind
        self.loop = asyncio.new_event_loop()
        self.opened: list[Any] = []

    def open(self, url: str, **settings: Any) -> Any:
        client = self.kind(url, **{"retry": FAST, **settings})
        self.opened.append(client)
        return _Blocking(client, self.loop)

    def close(self) -> None:
        for client in self.opened:
            _Blocking(client, self.loop).close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class _Blocking:
    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **kwargs: self._loop.run_until_complete(value(*args, **kwargs))
