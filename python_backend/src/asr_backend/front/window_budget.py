"""How much of a front's long recordings is with the acoustic model at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LongAudio:
    """Admits windows in the order in which they ask, while a number of samples is not exceeded.

    Args:
        limit: samples in work; a window beyond it is admitted when nothing else is.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._in_work = 0
        self._turn = asyncio.Lock()
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def admit(self, samples: int) -> AsyncIterator[None]:
        """Wait for the window's turn; it is in work while the block runs."""
        async with self._turn:
            while self._in_work and self._in_work + samples > self.limit:
                self._ended.clear()
                await self._ended.wait()
            self._in_work += samples
        try:
            yield
        finally:
            self._in_work -= samples
            self._ended.set()
