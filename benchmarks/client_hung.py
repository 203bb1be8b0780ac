"""Two fake servers behind one client; one says that it is ready and answers no recording."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from asr_client import AsrError, AsyncClient, Client
from asr_client.testing import FakeServer

CALLERS, CALLS = 4, 200
ANSWER_S = 0.05
"""What an answer of the other server takes."""
CLIP = np.zeros(1600, np.int16)


@dataclass
class Report:
    """What became of the calls."""

    failed: list[int] = field(default_factory=list)
    """Places of the failed calls in the order in which all began."""
    durations_s: list[float] = field(default_factory=list)
    sent_to_the_hung_one: int = 0
    """Recordings, trials included."""


def run(calls: int = CALLS, *, timeout_s: float, asynchronous: bool) -> Report:
    """Make so many calls with one client, four at once, each bounded by `timeout_s`."""
    report = Report()
    with FakeServer(delay_s=ANSWER_S) as well, FakeServer() as hung:
        hung.hung = True
        turns = iter(range(calls))
        urls = [well.url, hung.url]
        if asynchronous:
            asyncio.run(_in_tasks(urls, turns, timeout_s, report))
        else:
            _in_threads(urls, turns, timeout_s, report)
        report.sent_to_the_hung_one = len(hung.requests)
    return report


def _in_threads(urls: list[str], turns: Iterator[int], timeout_s: float, report: Report) -> None:
    def call(turn: int) -> None:
        began_s = time.monotonic()
        try:
            client.transcribe(CLIP, sample_rate=16_000)
        except AsrError:
            report.failed.append(turn)
        report.durations_s.append(time.monotonic() - began_s)

    with Client(urls, timeout_s=timeout_s) as client, ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, turns))


async def _in_tasks(
    urls: list[str], turns: Iterator[int], timeout_s: float, report: Report
) -> None:
    async def caller() -> None:
        for turn in turns:
            began_s = time.monotonic()
            try:
                await client.transcribe(CLIP, sample_rate=16_000)
            except AsrError:
                report.failed.append(turn)
            report.durations_s.append(time.monotonic() - began_s)

    async with AsyncClient(urls, timeout_s=timeout_s) as client:
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
