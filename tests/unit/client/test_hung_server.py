"""Two servers behind one client, one of which takes recordings and answers none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import asr_client
from asr_client import AsyncClient, Client
from asr_client.testing import FakeServer

CLIP = np.zeros(1600, np.int16)
CALLERS, CALLS = 4, 200
TIMEOUT_S = 1.5
MOST_FAILED = 2


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    with FakeServer(text="a", delay_s=0.02) as first, FakeServer(text="b", delay_s=0.02) as second:
        yield [first, second]


def in_threads(urls: list[str]) -> list[str | None]:
    """Texts of all calls in the order in which they began; None where one failed."""

    def call(_: int) -> str | None:
        try:
            return client.transcribe(CLIP, sample_rate=16_000).text
        except asr_client.AsrError:
            return None

    with Client(urls, timeout_s=TIMEOUT_S) as client, ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(call, range(CALLS)))


def in_tasks(urls: list[str]) -> list[str | None]:
    """The same with `AsyncClient`."""
    texts: list[str | None] = [None] * CALLS

    async def caller(client: AsyncClient, turns: Iterator[int]) -> None:
        for turn in turns:
            try:
                texts[turn] = (await client.transcribe(CLIP, sample_rate=16_000)).text
            except asr_client.AsrError:
                texts[turn] = None

    async def run() -> None:
        turns = iter(range(CALLS))
        async with AsyncClient(urls, timeout_s=TIMEOUT_S) as client:
            await asyncio.gather(*(caller(client, turns) for _ in range(CALLERS)))

    asyncio.run(run())
    return texts


@pytest.mark.parametrize("calls", [in_threads, in_tasks])
def test_a_hung_server_costs_two_of_200_calls_at_most_and_none_later(calls, fakes) -> None:
    fakes[1].hung = True
    texts = calls([fake.url for fake in fakes])
    assert texts.count(None) <= MOST_FAILED
    # Whoever is asked first cannot know; from then on nobody may fail.
    assert None not in texts[CALLS // 2 :]
    assert set(texts) <= {"a", None}
    # It was tried, by callers and afterwards on trial.
    assert fakes[1].requests
