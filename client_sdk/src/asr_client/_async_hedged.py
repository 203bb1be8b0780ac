"""A recording at one server and perhaps at a second one, for tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from asr_client import _core, _hedging, _wire
from asr_client._sending import AttemptFailed, Sending

if TYPE_CHECKING:
    from asr_client._async_sender import AsyncSender


class AsyncHedgedRequest:
    """Sends one recording of a call until an attempt is answered or none is left.

    Args:
        sender: the client's, which has the connections.
        call: to which the recording belongs.
        request: the recording.
    """

    def __init__(self, sender: AsyncSender, call: _core.Call, request: Any) -> None:
        self._sender = sender
        self._call = call
        self._request = request
        self._in_flight: dict[asyncio.Task[Any], Sending] = {}
        self._questions: set[asyncio.Task[bool]] = set()
        """Whether the first server is alive."""

    async def run(self, first: Sending) -> Any:
        """The response; raises AttemptFailed with the last attempt's failure."""
        hedging = _hedging.Hedging(self._call, first)
        to_send: Sending | None = first
        try:
            while True:
                if to_send is not None:
                    task = asyncio.ensure_future(self._send(to_send))
                    self._in_flight[task] = to_send
                done, _ = await asyncio.wait(
                    {*self._in_flight, *self._questions},
                    timeout=hedging.wait_s(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for question in self._questions & done:
                    self._questions.discard(question)
                    if not question.result():
                        hedging.no_sign_of_life()
                        if first.connection is not None:
                            self._sender.connections.replace(first.connection)
                for task in [task for task in self._in_flight if task in done]:
                    sending = self._in_flight.pop(task)
                    try:
                        response = task.result()
                    except AttemptFailed as failed:
                        hedging.lost(sending, failed.status, failed.words)
                    else:
                        hedging.won(sending)
                        return response
                if hedging.must_ask():
                    self._questions.add(asyncio.ensure_future(self._is_alive(first)))
                to_send = hedging.second()
        finally:
            left = [*self._in_flight, *self._questions]
            for one in left:
                one.cancel()
            # A failure of what nobody waits for any more is nobody's concern.
            await asyncio.gather(*left, return_exceptions=True)

    async def _send(self, sending: Sending) -> Any:
        try:
            return await self._sender.exchange(self._call, sending, "ModelInfer", self._request)
        finally:
            await self._sender.release(self._call, sending.choice)

    async def _is_alive(self, first: Sending) -> bool:
        address, request = first.choice.address, _wire.request("ServerLive")
        try:
            await self._sender.ask(
                address, "ServerLive", request, _hedging.ASK_TIMEOUT_S, first.connection
            )
        except grpc.RpcError as error:
            # Any other error is an answer too, or ends the attempt itself.
            return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
        return True
