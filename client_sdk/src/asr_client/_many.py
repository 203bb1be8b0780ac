"""Several recordings at once, with a bound on how many are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def as_finished(
    items: Iterable[_Item],
    work: Callable[[_Item], Awaitable[_Result]],
    *,
    concurrency: int,
) -> AsyncGenerator[tuple[_Item, _Result], None]:
    """Yield each item with its result as it finishes; at most `concurrency` are in work.

    The first exception of `work`, and the end of the iteration, cancel what is in work.
    """
    waiting = iter(items)
    running: dict[asyncio.Future[_Result], _Item] = {}
    try:
        while True:
            while len(running) < concurrency:
                try:
                    item = next(waiting)
                except StopIteration:
                    break
                running[asyncio.ensure_future(work(item))] = item
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield running.pop(task), task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
