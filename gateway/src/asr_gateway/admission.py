"""How many recordings are at asr-server at once, and how many bytes of them in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Gauge


class Admission:
    """Lets recordings through in order of arrival, within a number and a sum of bytes.

    Args:
        max_calls: recordings at once.
        max_bytes: sum of their sizes; a larger recording goes alone.
        waiting: shows how many wait.
    """

    def __init__(self, *, max_calls: int, max_bytes: int, waiting: Gauge) -> None:
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._calls = 0
        self._bytes = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waiting = waiting

    @asynccontextmanager
    async def slot(self, size: int) -> AsyncIterator[None]:
        """Wait for room for a recording of `size` bytes, and hold it."""
        if self._queue or not self._fits(size):
            await self._wait(size)
        else:
            self._take(size)
        try:
            yield
        finally:
            self._give_back(size)

    async def _wait(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._queue.append(entry)
        self._waiting.inc()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(size)
            else:
                with contextlib.suppress(ValueError):
                    self._queue.remove(entry)
                self._wake()
            raise
        finally:
            self._waiting.dec()

    def _fits(self, size: int) -> bool:
        if not self._calls:
            return True
        return self._calls < self._max_calls and self._bytes + size <= self._max_bytes

    def _take(self, size: int) -> None:
        self._calls += 1
        self._bytes += size

    def _give_back(self, size: int) -> None:
        self._calls -= 1
        self._bytes -= size
        self._wake()

    def _wake(self) -> None:
        while self._queue and self._fits(self._queue[0][0]):
            size, turn = self._queue.popleft()
            if not turn.cancelled():
                self._take(size)
                turn.set_result(None)
