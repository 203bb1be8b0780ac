"""Limits how much audio of long recordings is at the acoustic model at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class WindowBudget:
    """Admits windows in the order in which they ask, up to a number of samples.

    Args:
        max_samples: samples in flight. A longer window is admitted when nothing else is in flight.
    """

    def __init__(self, max_samples: int) -> None:
        self.max_samples = max_samples
        self._in_flight = 0
        self._turn = asyncio.Lock()
        self._ended = asyncio.Event()

    @asynccontextmanager
    async def admit(self, samples: int) -> AsyncIterator[None]:
        """Wait for the window's turn; it is in flight while the block runs."""
        async with self._turn:
            while self._in_flight and self._in_flight + samples > self.max_samples:
                self._ended.clear()
                await self._ended.wait()
            self._in_flight += samples
        try:
            yield
        finally:
            self._in_flight -= samples
            self._ended.set()
