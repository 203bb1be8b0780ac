"""Decides when a front takes more calls, and drops the calls whose callers have gone.

Triton gives a front its next requests only when `execute` returns. So `execute` waits here until
the lengths of its recordings are known, or for a short time, and then for as long as the front is
full. Meanwhile Triton's queue fills, and Triton refuses further requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

LENGTH_WAIT_S = 0.5
"""How long to wait for the length of a recording. Its first window may take long to decode."""
CALLER_POLL_S = 2.0
"""How often a call is checked for a caller that has gone. The work of the call checks too, but only
between windows, and one window may be decoded, queued or searched for minutes."""


class Call:
    """One call.

    Attributes:
        share: its size, in units of one recording of maximum length or size.
        share_known: done once that share is known, or the call has ended.
        is_cancelled: asks Triton whether the caller has gone. None before the work has begun, and
            from the answer on: after it, the question would crash tritonserver.
        begun: the time of its start on the event loop's clock.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.share = 0.0
        self.share_known: asyncio.Future[None] = loop.create_future()
        self.is_cancelled: Callable[[], bool] | None = None
        self.begun = loop.time()

    def weigh(self, share: float) -> None:
        """Raise the share to at least this."""
        self.share = max(self.share, share)

    def end_weighing(self) -> None:
        """Declare the share known."""
        if not self.share_known.done():
            self.share_known.set_result(None)


Work = Callable[[Call], Coroutine[None, None, None]]


class Admission:
    """The calls of a front that are not answered yet.

    Args:
        max_calls: the front is full at so many calls.
        max_share: the front is full if the shares of its calls add up to more.
        is_crowded: the front is full while this is true, too.
    """

    def __init__(
        self,
        *,
        max_calls: int,
        max_share: float,
        is_crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._max_calls = max_calls
        self._max_share = max_share
        self._is_crowded = is_crowded
        self._calls: dict[asyncio.Task[None], Call] = {}
        self._watch: asyncio.Task[None] | None = None

    def begin(self, work: Work) -> Call:
        """Begin the work of one call. The work is cancelled when the caller goes away."""
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
        """Wait until the shares of these calls are known, then until the front is not full."""
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
            self._is_crowded()
            or len(self._calls) >= self._max_calls
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
                # Each question is a round trip to Triton that blocks the event loop.
                await asyncio.sleep(0)
