"""Limits how much audio of a front is at the acoustic model at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CROWDED = 2
"""The front takes no more calls while short recordings in flight are so many times the budget.
That is enough for the next forwards; calls that wait in Triton's queue can still be refused."""


class WindowBudget:
    """Admits windows of long recordings in the order in which they ask, up to a number of samples.

    Args:
        max_samples: samples in flight. A longer window is admitted when nothing else is in flight.
    """

    def __init__(self, max_samples: int) -> None:
        self.max_samples = max_samples
        self._in_flight = 0
        self._short = 0
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

    @asynccontextmanager
    async def pass_by(self, samples: int) -> AsyncIterator[None]:
        """Only count a short recording, which waits for no turn."""
        self._short += samples
        try:
            yield
        finally:
            self._short -= samples

    def is_crowded(self) -> bool:
        """Whether the short recordings in flight are enough for the next forwards."""
        return self._short >= CROWDED * self.max_samples
