from __future__ import annotations

import asyncio
import random

import pytest
from prometheus_client import CollectorRegistry, Gauge

from asr_gateway.admission import Admission


def admission(max_calls: int, max_bytes: int) -> tuple[Admission, CollectorRegistry]:
    registry = CollectorRegistry()
    waiting = Gauge("waiting", "", registry=registry)
    return Admission(max_calls=max_calls, max_bytes=max_bytes, waiting=waiting), registry


@pytest.mark.parametrize("seed", range(5))
async def test_the_bounds_hold_and_everybody_gets_through(seed: int):
    gate, registry = admission(3, 10)
    dice = random.Random(seed)
    inside: list[int] = []
    done = 0

    async def call(size: int) -> None:
        nonlocal done
        async with gate.slot(size):
            inside.append(size)
            assert len(inside) <= 3
            assert len(inside) == 1 or sum(inside) <= 10
            try:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                inside.remove(size)
            done += 1

    calls = [asyncio.ensure_future(call(dice.randrange(1, 20))) for _ in range(60)]
    for victim in dice.sample(calls, 20):
        await asyncio.sleep(0)
        victim.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    cancelled = sum(isinstance(end, asyncio.CancelledError) for end in ended)
    assert done + cancelled == 60
    assert [end for end in ended if isinstance(end, AssertionError)] == []
    assert registry.get_sample_value("waiting") == 0

    async def alone() -> None:
        async with gate.slot(10):
            pass

    await asyncio.wait_for(alone(), 5)


async def test_in_order_of_arrival():
    gate, _ = admission(1, 10)
    order: list[int] = []

    async def call(number: int) -> None:
        async with gate.slot(1):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(call(number) for number in range(5)))
    assert order == list(range(5))
