"""The calls that a front works on: how many, how large, and whether their callers still wait.

Triton gives a front its next requests only when `execute` returns. So `execute` waits here until
the lengths of its recordings are known, or for a short time, and then while the front is full:
Triton's queue fills, and Triton refuses what does not fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

LENGTH_WAIT_S = 0.5
"""How long to wait for the length of a recording, whose first sound may lie deep in it."""
CALLER_POLL_S = 2.0
"""How often a call is asked whether its caller has gone, beside the times that its work asks. A
window that is decoded, queued or searched may take minutes."""


class Call:
    """One call.

    Attributes:
        share: of a recording of the greatest length or size.
        share_known: done once that share is known, or the call has ended.
        is_cancelled: asks Triton whether the caller has gone; None before the work has begun and
            from its answer on, behind which the question would end tritonserver.
        begun: when, on the event loop's clock.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.share = 0.0
        self.share_known: asyncio.Future[None] = loop.create_future()
        self.is_cancelled: Callable[[], bool] | None = None
        self.begun = loop.time()

    def weigh(self, share: float) -> None:
        """Count it as at least this share of a full one."""
        self.share = max(self.share, share)

    def end_weighing(self) -> None:
        """Say that the share is known."""
        if not self.share_known.done():
            self.share_known.set_result(None)


Work = Callable[[Call], Coroutine[None, None, None]]


class Admission:
    """All calls of a front that are not answered yet.

    Args:
        max_calls: calls at which the front is full.
        max_share: the sum of shares above which it is full.
    """

    def __init__(self, *, max_calls: int, max_share: float) -> None:
        self._max_calls = max_calls
        self._max_share = max_share
        self._calls: dict[asyncio.Task[None], Call] = {}
        self._watch: asyncio.Task[None] | None = None

    def begin(self, work: Work) -> Call:
        """Begin the work of one call, which is cancelled when its caller has gone."""
        call = Call()
        task = asyncio.create_task(work(call))
        self._calls[task] = call

        def end(task: asyncio.Task[None]) -> None:
            del self._calls[task]
            call.end_weighing()

        task.add_done_callback(end)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._drop_abandoned(), name="callers")
        return call

    async def wait_for_room(self, calls: Sequence[Call]) -> None:
        """Wait for the shares of calls that have just begun, then while the front is full."""
        await asyncio.wait([call.share_known for call in calls], timeout=LENGTH_WAIT_S)
        while self._is_full():
            await self.one_ended()

    def is_empty(self) -> bool:
        """Whether all calls are answered."""
        return not self._calls

    async def one_ended(self) -> None:
        """Wait until a call has ended."""
        await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)

    def _is_full(self) -> bool:
        return (
            len(self._calls) >= self._max_calls
            or sum(call.share for call in self._calls.values()) > self._max_share
        )

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
