from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from asr_client import AsyncClient, Client, RetryPolicy
from asr_client.testing import FakeServer

FAST = RetryPolicy(initial_backoff_s=0.001, max_backoff_s=0.002)


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


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(text="seven of clubs") as running:
        yield running


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    made = Driver(request.param)
    yield made
    made.close()


@pytest.fixture
def client(driver: Driver, server: FakeServer) -> Any:
    return driver.open(server.url)
