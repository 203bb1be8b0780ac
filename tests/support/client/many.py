"""Either client's `transcribe_many` behind the ordinary protocol, for the tests of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from asr_client import Client, Outcome, Recording
from tests.support.client.driver import FAST, Driver
from tests.support.recordings import FOLDER

CARD = FOLDER / "cards-003-seven-of-clubs.wav"
SILENCE = np.zeros(1600, np.int16)


class Many:
    """Either client's iterator behind the ordinary protocol."""

    def __init__(self, driver: Driver, url: str, **settings: Any) -> None:
        self._loop = driver.loop
        self._client = driver.kind(url, **{"retry": FAST, **settings})
        driver.opened.append(self._client)
        self._outcomes: Any = None

    def __call__(self, items: Any, **options: Any) -> Many:
        self._outcomes = self._client.transcribe_many(items, **options)
        return self

    def __iter__(self) -> Many:
        return self

    def __next__(self) -> Outcome[Any]:
        if isinstance(self._client, Client):
            made: Outcome[Any] = next(self._outcomes)
            return made
        try:
            return self._loop.run_until_complete(self._outcomes.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        if isinstance(self._client, Client):
            self._outcomes.close()
        else:
            self._loop.run_until_complete(self._outcomes.aclose())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """The loop has to run for what its tasks have begun to go on."""

        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        self._loop.run_until_complete(asyncio.wait_for(wait(), 20))

    def tasks(self) -> int:
        return len(asyncio.all_tasks(self._loop))

    def close_client(self) -> None:
        if isinstance(self._client, Client):
            self._client.close()
        else:
            self._loop.run_until_complete(self._client.close())


def threads() -> set[str]:
    """All but those of the fake and of an event loop's own pool."""
    names = {thread.name for thread in threading.enumerate()}
    # gRPC's own poller serves all asynchronous channels of the process and outlives each of them.
    others = ("fake-asr", "asyncio_", "poll_wrapper")
    return {name for name in names if not any(other in name for other in others)}


class Counted(Iterator[Any]):
    """Endless, and knows how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __next__(self) -> Any:
        self.asked += 1
        return Recording(SILENCE, id=self.asked, sample_rate=16_000)
