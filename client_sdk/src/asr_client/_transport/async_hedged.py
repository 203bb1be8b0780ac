"""A recording at one server and perhaps at a second one, for tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from asr_client import _wire
from asr_client._transport import hedging
from asr_client._transport.async_exchange import AsyncExchange
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call


class AsyncHedgedRequest:
    """Sends one recording of a call until an attempt is answered or none is left.

    Args:
        exchange: sends requests.
        call: to which the recording belongs.
        request: the recording.
    """

    def __init__(self, exchange: AsyncExchange, call: Call, request: Any) -> None:
        self._exchange = exchange
        self._call = call
        self._request = request
        self._in_flight: dict[asyncio.Task[Any], OpenAttempt] = {}
        self._questions: set[asyncio.Task[bool]] = set()
        """Whether the first server is alive."""

    async def run(self, first: OpenAttempt) -> Any:
        """The response; raises AttemptFailed with the last attempt's failure."""
        hedge = hedging.Hedging(self._call, first)
        to_send: OpenAttempt | None = first
        try:
            while True:
                if to_send is not None:
                    task = asyncio.ensure_future(
                        self._exchange.run(self._call, to_send, "ModelInfer", self._request)
                    )
                    self._in_flight[task] = to_send
                done, _ = await asyncio.wait(
                    {*self._in_flight, *self._questions},
                    timeout=hedge.wait_s(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for question in self._questions & done:
                    self._questions.discard(question)
                    if not question.result():
                        hedge.no_sign_of_life()
                        if first.connection is not None:
                            self._exchange.connections.replace(first.connection)
                for task in [task for task in self._in_flight if task in done]:
                    attempt = self._in_flight.pop(task)
                    try:
                        response = task.result()
                    except AttemptFailed as failed:
                        hedge.lost(failed)
                    else:
                        hedge.won(attempt)
                        return response
                if hedge.must_ask():
                    self._questions.add(asyncio.ensure_future(self._is_alive(first)))
                to_send = hedge.second()
        finally:
            left = [*self._in_flight, *self._questions]
            for one in left:
                one.cancel()
            # A failure of what nobody waits for any more is nobody's concern.
            await asyncio.gather(*left, return_exceptions=True)

    async def _is_alive(self, first: OpenAttempt) -> bool:
        address, request = first.address, _wire.request("ServerLive")
        try:
            await self._exchange.ask(
                address, "ServerLive", request, hedging.ASK_TIMEOUT_S, first.connection
            )
        except grpc.RpcError as error:
            # Any other error is an answer too, or ends the attempt itself.
            return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
        return True
