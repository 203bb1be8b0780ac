from __future__ import annotations

import asyncio

from asr_backend.front.window_budget import WindowBudget


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Window:
    """A window that stays at the acoustic model until `end` is set."""

    def __init__(self, budget: WindowBudget, samples: int) -> None:
        self.in_work = False
        self.end = asyncio.Event()
        self.task = asyncio.create_task(self._run(budget, samples))

    async def _run(self, budget: WindowBudget, samples: int) -> None:
        async with budget.admit(samples):
            self.in_work = True
            await self.end.wait()
        self.in_work = False


async def test_windows_are_admitted_in_order_up_to_the_limit() -> None:
    budget = WindowBudget(10)
    # The last would fit, but waits for those that asked before it.
    windows = [Window(budget, samples) for samples in (4, 6, 6, 4, 1)]
    await settle()
    assert [window.in_work for window in windows] == [True, True, False, False, False]
    windows[0].end.set()
    await settle()
    assert [window.in_work for window in windows] == [False, True, False, False, False]
    windows[1].end.set()
    await settle()
    assert [window.in_work for window in windows] == [False, False, True, True, False]


async def test_a_window_beyond_the_limit_goes_alone() -> None:
    budget = WindowBudget(10)
    windows = [Window(budget, samples) for samples in (1, 25, 1)]
    await settle()
    assert [window.in_work for window in windows] == [True, False, False]
    windows[0].end.set()
    await settle()
    assert [window.in_work for window in windows] == [False, True, False]
    windows[1].end.set()
    await settle()
    assert [window.in_work for window in windows] == [False, False, True]


async def test_whoever_is_cancelled_gives_its_place_back() -> None:
    budget = WindowBudget(10)
    windows = [Window(budget, 10) for _ in range(4)]
    await settle()
    for cancelled in (windows[1], windows[0]):
        cancelled.task.cancel()
        await settle()
    assert [window.in_work for window in windows[2:]] == [True, False]
    windows[2].end.set()
    await settle()
    assert windows[3].in_work
