"""A recording at one server and perhaps at a second one, for threads."""

from __future__ import annotations

import queue
from typing import Any

import grpc

from asr_client import _wire
from asr_client._transport import hedging
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call
from asr_client._transport.connections import Connection
from asr_client._transport.exchange import Exchange


class HedgedRequest:
    """Sends one recording of a call until an attempt is answered or none is left.

    Args:
        exchange: sends requests.
        call: to which the recording belongs.
        request: the recording.
    """

    def __init__(self, exchange: Exchange, call: Call, request: Any) -> None:
        self._exchange = exchange
        self._call = call
        self._request = request
        self._in_flight: dict[OpenAttempt, tuple[Connection, Any]] = {}
        self._events: queue.SimpleQueue[OpenAttempt | None] = queue.SimpleQueue()
        """Attempts that have ended; None is that the first server gave no sign of life."""

    def run(self, first: OpenAttempt) -> Any:
        """The response; raises AttemptFailed with the last attempt's failure."""
        hedge = hedging.Hedging(self._call, first)
        to_send: OpenAttempt | None = first
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
                            self._exchange.connections.replace(first.connection)
                    else:
                        answer = self._answer(ended, hedge)
                        if answer is not None:
                            return answer
                to_send = hedge.second()
        finally:
            for attempt in list(self._in_flight):
                connection, rpc = self._in_flight.pop(attempt)
                rpc.cancel()
                self._exchange.end(connection, responded=None)
            self._exchange.track(self._call, [])

    def _start(self, attempt: OpenAttempt) -> None:
        connection, rpc = self._exchange.start(self._call, attempt, self._request)
        self._in_flight[attempt] = connection, rpc
        rpc.add_done_callback(lambda _: self._events.put(attempt))
        self._exchange.track(self._call, [rpc for _, rpc in self._in_flight.values()])

    def _answer(self, attempt: OpenAttempt, hedge: hedging.Hedging) -> Any:
        """The response of an attempt that has ended; None when another one is to be waited for."""
        connection, rpc = self._in_flight.pop(attempt)
        code = rpc.code()
        self._exchange.end(connection, responded=code is not grpc.StatusCode.DEADLINE_EXCEEDED)
        if code is grpc.StatusCode.OK:
            hedge.won(attempt)
            return rpc.result()
        hedge.lost(AttemptFailed(attempt, *self._exchange.failure(rpc)))
        return None

    def _ask(self, first: OpenAttempt) -> None:
        """Ask the first server whether it is alive; that it does not say so becomes an event."""

        def note(done: Any) -> None:
            if done.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._events.put(None)

        request = _wire.request("ServerLive")
        future = self._exchange.ask(
            first.address, "ServerLive", request, hedging.ASK_TIMEOUT_S, first.connection
        )
        future.add_done_callback(note)
