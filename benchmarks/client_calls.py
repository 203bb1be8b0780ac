"""Many calls of one client, a fixed number of them at once, by threads or by tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from asr_client import AsrError, AsyncClient, Attempt, Client

CLIP = np.zeros(1600, np.int16)
CLIENTS = {"Client": False, "AsyncClient": True}
"""Names in tables, and whether the client is the asynchronous one."""


@dataclass(frozen=True)
class Ended:
    """How one call ended."""

    timeout_s: float
    elapsed_s: float
    kind: str
    """The error's class, or "transcript"."""
    typed: bool
    """It was a transcript or an AsrError."""

    @property
    def late_s(self) -> float:
        """Seconds beyond the deadline; negative when it ended before."""
        return self.elapsed_s - self.timeout_s


def make_calls(
    urls: Sequence[str],
    timeouts_s: Sequence[float],
    *,
    concurrency: int,
    asynchronous: bool,
    on_attempt: Callable[[Attempt], None] | None = None,
) -> list[Ended]:
    """One call for each timeout; the results are in their order."""
    if asynchronous:
        return asyncio.run(_in_tasks(urls, timeouts_s, concurrency, on_attempt))

    def call(timeout_s: float) -> Ended:
        began_s, failure = time.monotonic(), None
        try:
            client.transcribe(CLIP, sample_rate=16_000, timeout_s=timeout_s)
        except Exception as error:
            failure = error
        return _ended(timeout_s, began_s, failure)

    with Client(urls, on_attempt=on_attempt) as client, ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(call, timeouts_s))


async def _in_tasks(
    urls: Sequence[str],
    timeouts_s: Sequence[float],
    concurrency: int,
    on_attempt: Callable[[Attempt], None] | None,
) -> list[Ended]:
    slots = asyncio.Semaphore(concurrency)

    async def call(timeout_s: float) -> Ended:
        async with slots:
            began_s, failure = time.monotonic(), None
            try:
                await client.transcribe(CLIP, sample_rate=16_000, timeout_s=timeout_s)
            except Exception as error:
                failure = error
            return _ended(timeout_s, began_s, failure)

    async with AsyncClient(urls, on_attempt=on_attempt) as client:
        return await asyncio.gather(*map(call, timeouts_s))


def _ended(timeout_s: float, began_s: float, error: Exception | None) -> Ended:
    kind = "transcript" if error is None else type(error).__name__
    typed = error is None or isinstance(error, AsrError)
    return Ended(timeout_s, time.monotonic() - began_s, kind, typed)
