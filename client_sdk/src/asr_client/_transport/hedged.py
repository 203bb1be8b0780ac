"""A recording at one server and perhaps at a second one, for threads."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import grpc

from asr_client import _wire
from asr_client._transport import hedging
from asr_client._transport.call import Call
from asr_client._transport.connections import Connection
from asr_client._transport.sending import Sending

if TYPE_CHECKING:
    from asr_client._transport.sender import Sender


class HedgedRequest:
    """Sends one recording of a call until an attempt is answered or none is left.

    Args:
        sender: the client's, which has the connections.
        call: to which the recording belongs.
        request: the recording.
    """

    def __init__(self, sender: Sender, call: Call, request: Any) -> None:
        self._sender = sender
        self._call = call
        self._request = request
        self._in_flight: dict[Sending, tuple[Connection, Any]] = {}
        self._events: queue.SimpleQueue[Sending | None] = queue.SimpleQueue()
        """Attempts that have ended; None is that the first server gave no sign of life."""

    def run(self, first: Sending) -> Any:
        """The response; raises AttemptFailed with the last attempt's failure."""
        hedge = hedging.Hedging(self._call, first)
        to_send: Sending | None = first
        try:
            while True:
                if to_send is not None:
                    self._start(to_send)
                try:
                    ended = self._events.get(timeout=hedge.wait_s())
                except queue.Empty:
                    if hedge.must_ask():
                        self._ask(first)
                else:
                    if ended is None:
                        hedge.no_sign_of_life()
                        if first.connection is not None:
                            self._sender.connections.replace(first.connection)
                    else:
                        answer = self._answer(ended, hedge)
                        if answer is not None:
                            return answer
                to_send = hedge.second()
        finally:
            for sending in list(self._in_flight):
                self._in_flight[sending][1].cancel()
                self._end(sending, heard=None)
            self._sender.track(self._call, [])

    def _start(self, sending: Sending) -> None:
        started = False
        try:
            flight = self._sender.start(self._call, sending, self._request)
            self._in_flight[sending] = flight
            started = True
        finally:
            if not started:
                self._sender.release(self._call, sending.choice)
        flight[1].add_done_callback(lambda _: self._events.put(sending))
        self._sender.track(self._call, [rpc for _, rpc in self._in_flight.values()])

    def _answer(self, sending: Sending, hedge: hedging.Hedging) -> Any:
        """The response of an attempt that has ended; None when another one is to be waited for."""
        rpc = self._in_flight[sending][1]
        code = rpc.code()
        if code is grpc.StatusCode.OK:
            self._end(sending, heard=True)
            hedge.won(sending)
            return rpc.result()
        self._end(sending, heard=code is not grpc.StatusCode.DEADLINE_EXCEEDED)
        failure = self._sender.failure(sending, rpc)
        hedge.lost(sending, failure.status, failure.words)
        return None

    def _end(self, sending: Sending, *, heard: bool | None) -> None:
        connection, _ = self._in_flight.pop(sending)
        try:
            self._sender.end(connection, heard=heard)
        finally:
            self._sender.release(self._call, sending.choice)

    def _ask(self, first: Sending) -> None:
        """Ask the first server whether it is alive; that it does not say so becomes an event."""

        def note(done: Any) -> None:
            if done.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._events.put(None)

        request = _wire.request("ServerLive")
        future = self._sender.ask(
            first.choice.address, "ServerLive", request, hedging.ASK_TIMEOUT_S, first.connection
        )
        future.add_done_callback(note)
