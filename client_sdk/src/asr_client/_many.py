"""Many recordings: a bounded number in flight, in threads or in tasks."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias

from asr_client._errors import InvalidRequest, ServerBusy
from asr_client._recording import ItemT, Outcome
from asr_client._transport.call import Call
from asr_client._transport.pace import Pace
from asr_client._types import Transcript

DEFAULT_CONCURRENCY = 8
MAX_WAIT_S = 0.5
"""Ctrl-C just before a wait does not interrupt it, so each wait is short."""

Items: TypeAlias = Iterable[ItemT]
Outcomes: TypeAlias = Generator[Outcome[ItemT], None, None]
AsyncItems: TypeAlias = "Iterable[ItemT] | AsyncIterable[ItemT]"
AsyncOutcomes: TypeAlias = AsyncGenerator[Outcome[ItemT], None]


@dataclass(eq=False)
class Job(Generic[ItemT]):
    """An item, from when it is requested until its outcome is yielded."""

    item: ItemT
    call: Call
    options: dict[str, Any]
    """The options of all items."""
    request: Any = None
    """The request; None until the audio is read. A file object can be read only once."""
    round: int = 0
    """The round of the pace in which it was sent."""


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[ItemT]):
    """The arguments that `in_threads` and `in_tasks` share."""

    concurrency: int
    pace: Pace
    job: Callable[[ItemT], Job[ItemT]]
    check: Callable[[], None]
    """Raises RuntimeError when the client is closed, before the next item is requested."""

    def may_start(self, running: int, pause_s: float) -> bool:
        """Whether one more may be sent now."""
        return running < self.pace.limit and not pause_s

    def started(self, job: Job[ItemT]) -> Job[ItemT]:
        """Note that a job is sent now."""
        job.round = self.pace.sent()
        job.call.starts()
        return job

    def settle(self, job: Job[ItemT], result: Callable[[], Transcript]) -> Outcome[ItemT] | None:
        """The outcome of a job that was sent; None when it should be sent again."""
        try:
            transcript = result()
        except ServerBusy as error:
            # `refused` first: it must count even when the caller wants no second attempt.
            if self.pace.refused(job.round) and job.call.yield_on_busy:
                job.call = job.call.again()
                return None
            return Outcome(item=job.item, error=error)
        except Exception as error:
            # A server that refuses a recording as invalid had room for it.
            if isinstance(error, InvalidRequest) and error.attempts:
                self.pace.accepted()
            return Outcome(item=job.item, error=error)
        self.pace.accepted()
        return Outcome(item=job.item, transcript=transcript)


def in_threads(
    items: Iterator[ItemT],
    plan: Plan[ItemT],
    send: Callable[[Job[ItemT]], Transcript],
    cancel: Callable[[Job[ItemT]], None],
) -> Outcomes[ItemT]:
    """Yield outcomes as they come; the caller's thread iterates over the items.

    Finished outcomes are yielded before the next item is requested. The end of the iteration
    cancels the recordings in flight and waits for their end.

    Args:
        items: may be endless.
        plan: how many at once, and how fast.
        send: transcribes one item; runs in a thread of the pool.
        cancel: makes `send` of a job end soon.
    """
    running: dict[futures.Future[Transcript], Job[ItemT]] = {}
    submitted: set[Job[ItemT]] = set()
    """The running jobs. Each is added before it runs, because Ctrl-C may come at any time."""
    ready: deque[Job[ItemT]] = deque()
    more = True
    pool = futures.ThreadPoolExecutor(plan.concurrency, thread_name_prefix="asr-many")
    try:
        while True:
            pause_s = plan.pace.pause_s()
            while plan.may_start(len(running), pause_s) and not any(f.done() for f in running):
                if more and not ready:
                    plan.check()
                    try:
                        ready.append(plan.job(next(items)))
                    except StopIteration:
                        more = False
                if not ready:
                    break
                job = plan.started(ready.popleft())
                submitted.add(job)
                # The caller's spans and loggers keep their context in context variables.
                context = contextvars.copy_context()
                running[pool.submit(context.run, send, job)] = job
            if not (running or ready or more):
                return
            if running:
                wait_s = min(pause_s, MAX_WAIT_S) or MAX_WAIT_S
                futures.wait(running, wait_s, futures.FIRST_COMPLETED)
            else:
                time.sleep(pause_s)
            for future in [future for future in running if future.done()]:
                job = running.pop(future)
                submitted.discard(job)
                outcome = plan.settle(job, future.result)
                if outcome is None:
                    ready.append(job)
                else:
                    yield outcome
    finally:
        for job in submitted:
            cancel(job)
        pool.shutdown(cancel_futures=True)


async def in_tasks(
    items: Iterator[ItemT] | AsyncIterator[ItemT],
    plan: Plan[ItemT],
    send: Callable[[Job[ItemT]], Awaitable[Transcript]],
) -> AsyncOutcomes[ItemT]:
    """`in_threads` with tasks. A slow asynchronous source does not delay outcomes.

    A slow synchronous one does: it is read in the event loop.
    """
    running: dict[asyncio.Future[Transcript], Job[ItemT]] = {}
    ready: deque[Job[ItemT]] = deque()
    asking: asyncio.Future[list[ItemT]] | None = None
    more = True
    try:
        while True:
            pause_s = plan.pace.pause_s()
            while plan.may_start(len(running), pause_s) and ready:
                job = plan.started(ready.popleft())
                running[asyncio.ensure_future(send(job))] = job
            if (
                more
                and asking is None
                and plan.may_start(len(running), pause_s)
                and not any(task.done() for task in running)
            ):
                plan.check()
                asking = asyncio.ensure_future(_ask(items))
            awaited: set[asyncio.Future[Any]] = {*running}
            if asking is not None:
                awaited.add(asking)
            if awaited:
                await asyncio.wait(
                    awaited, timeout=pause_s or None, return_when=asyncio.FIRST_COMPLETED
                )
            elif ready or more:
                await asyncio.sleep(pause_s)
            else:
                return
            for task in [task for task in running if task.done()]:
                job = running.pop(task)
                outcome = plan.settle(job, task.result)
                if outcome is None:
                    ready.append(job)
                else:
                    yield outcome
            if asking is not None and asking.done():
                found, asking = asking.result(), None
                more = bool(found)
                ready.extend(map(plan.job, found))
    finally:
        left = [*running, *([asking] if asking else ())]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _ask(items: Iterator[ItemT] | AsyncIterator[ItemT]) -> list[ItemT]:
    """The next item, or none."""
    try:
        return [next(items) if isinstance(items, Iterator) else await items.__anext__()]
    except (StopIteration, StopAsyncIteration):
        return []


def iterator(items: AsyncItems[ItemT]) -> Iterator[ItemT] | AsyncIterator[ItemT]:
    """An iterator over the items; raises TypeError when they cannot be iterated."""
    return items.__aiter__() if isinstance(items, AsyncIterable) else iter(items)
