"""The calls that a front works on: how many, how large, and whether their callers still wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

CALLER_POLL_S = 2.0
"""How often a call is asked whether its caller has gone, beside the times that its work asks. A
window that is decoded, queued or searched may take minutes."""


class UnfinishedCall:
    """One call.

    Attributes:
        share: of a recording of the greatest length or size.
        known: done once that share is known.
        is_cancelled: asks Triton whether the caller has gone; None before the work has begun and
            from its answer on, behind which the question would end tritonserver.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.share = 0.0
        self.known: asyncio.Future[None] = loop.create_future()
        self.is_cancelled: Callable[[], bool] | None = None
        self.begun = loop.time()

    def weigh(self, share: float) -> None:
        """Count it as at least this share of a full one."""
        self.share = max(self.share, share)

    def let_go(self) -> None:
        """Say that the share is known."""
        if not self.known.done():
            self.known.set_result(None)


Work = Callable[[UnfinishedCall], Coroutine[None, None, None]]


class UnfinishedCalls:
    """All calls of a front that are not answered yet.

    Args:
        max_count: calls at which the front is full.
        max_share: the sum of shares above which it is full.
    """

    def __init__(self, *, max_count: int, max_share: float) -> None:
        self._max_count = max_count
        self._max_share = max_share
        self._calls: dict[asyncio.Task[None], UnfinishedCall] = {}
        self._watch: asyncio.Task[None] | None = None

    def begin(self, work: Work) -> UnfinishedCall:
        """Begin the work of one call, which is cancelled when its caller has gone."""
        call = UnfinishedCall()
        task = asyncio.create_task(work(call))
        self._calls[task] = call

        def end(task: asyncio.Task[None]) -> None:
            del self._calls[task]
            call.let_go()

        task.add_done_callback(end)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._drop_abandoned(), name="callers")
        return call

    def is_full(self) -> bool:
        """Whether no more calls should be taken up."""
        return (
            len(self._calls) >= self._max_count
            or sum(call.share for call in self._calls.values()) > self._max_share
        )

    def is_empty(self) -> bool:
        """Whether all calls are answered."""
        return not self._calls

    async def one_ended(self) -> None:
        """Wait until a call has ended."""
        await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)

    async def _drop_abandoned(self) -> None:
        while self._calls:
            await asyncio.sleep(CALLER_POLL_S)
            old = asyncio.get_running_loop().time() - CALLER_POLL_S
            for task, call in list(self._calls.items()):
                if call.begun < old and call.is_cancelled is not None and call.is_cancelled():
                    call.is_cancelled = None
                    task.cancel()
                # Each question is a message to Triton and back, and holds up the event loop.
                await asyncio.sleep(0)
