"""Many recordings: some in flight, the rest not yet asked for."""

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
"""In seconds. Ctrl-C in the moment before a wait does not end it: Python hears of it only after."""

Items: TypeAlias = Iterable[ItemT]
Outcomes: TypeAlias = Generator[Outcome[ItemT], None, None]
AsyncItems: TypeAlias = "Iterable[ItemT] | AsyncIterable[ItemT]"
AsyncOutcomes: TypeAlias = AsyncGenerator[Outcome[ItemT], None]


@dataclass(eq=False)
class Job(Generic[ItemT]):
    """An item from when it is asked for until its outcome is handed out."""

    item: ItemT
    call: Call
    options: dict[str, Any]
    """Those of all items."""
    request: Any = None
    """What is sent; None until the audio was read. A file object can be read only once."""
    round: int = 0
    """The pace's round in which it was sent."""


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[ItemT]):
    """What a client gives the two functions below."""

    concurrency: int
    pace: Pace
    job: Callable[[ItemT], Job[ItemT]]
    check: Callable[[], None]
    """Raises RuntimeError when the client is closed; no item is asked for then."""

    def may_start(self, running: int, pause_s: float) -> bool:
        """Say whether one more may be sent now."""
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
            # In this order: a refusal counts even when the caller wants no second attempt.
            if self.pace.refused(job.round) and job.call.yield_on_busy:
                job.call = job.call.again()
                return None
            return Outcome(item=job.item, error=error)
        except Exception as error:
            # A server that finds fault with a recording has taken it; one not sent tells nothing.
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
    """Yield outcomes as they come; items are asked for in the caller's thread.

    What has finished is handed out before the next item is asked for. The end of the iteration
    cancels what is in flight and waits until it has ended.

    Args:
        items: may be endless.
        plan: how many, and how fast.
        send: transcribe, in a thread of its own.
        cancel: make `send` of that job end soon.
    """
    running: dict[futures.Future[Transcript], Job[ItemT]] = {}
    submitted: set[Job[ItemT]] = set()
    """Those running, each noted before it is: Ctrl-C may come at any time."""
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
                # Spans and loggers of the caller look for what is current in the thread.
                context = contextvars.copy_context()
                running[pool.submit(context.run, send, job)] = job
            if not (running or ready or more):
                return
            if running:
                futures.wait(running, pause_s or MAX_WAIT_S, futures.FIRST_COMPLETED)
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
    """The same with tasks; waiting for an asynchronous source does not hold outcomes up."""
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
            awaited: set[asyncio.Future[Any]] = {*running, *([asking] if asking else ())}
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
    """What hands out the items; raises TypeError when nothing can."""
    return items.__aiter__() if isinstance(items, AsyncIterable) else iter(items)
