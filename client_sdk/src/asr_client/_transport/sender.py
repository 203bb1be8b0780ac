"""Calls on their way to servers, for threads."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from asr_client import _wire
from asr_client._transport import dns
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call
from asr_client._transport.channels import Access
from asr_client._transport.dns import Name
from asr_client._transport.exchange import Exchange
from asr_client._transport.hedged import HedgedRequest
from asr_client._transport.server import Choice
from asr_client._transport.servers import PROBE_TIMEOUT_S, TRIAL_TIMEOUT_S, Servers
from asr_client._types import Compression


class Sender:
    """Sends a call's requests until it has an answer or its error.

    Args:
        servers: those of the client.
        access: the client's token and certificates.
        compression: of what is sent.
    """

    def __init__(
        self, servers: Servers, access: Access, compression: Compression | None = None
    ) -> None:
        self._servers = servers
        self._exchange = Exchange(servers, access, compression)
        self.connections = self._exchange.connections
        self.cancel = self._exchange.cancel
        self.close = self._exchange.close
        self.pause = self._exchange.pause
        self._looking_up: dict[Name, str] = {}
        """Names whose addresses are being asked for, and what came of it the last time."""

    def send(self, call: Call, method: str, request: Any) -> Any:
        """The response; raises the call's AsrError, or RuntimeError when it is closed."""
        try:
            with call.budget.in_flight():
                while True:
                    self.find_servers(call)
                    with call.attempt(self._choose(call)) as attempt:
                        return self._answer(call, attempt, method, request)
                    self.pause(call, attempt.pause_s)
        except ValueError:
            # What gRPC raises when the channel is closed before the request is sent.
            self.connections.check()
            raise
        finally:
            self._exchange.drop(self._servers.take_unused())

    def _answer(self, call: Call, attempt: OpenAttempt, method: str, request: Any) -> Any:
        if method == "ModelInfer" and call.may_send_twice:
            return HedgedRequest(self._exchange, call, request).run(attempt)
        return self._exchange.run(call, attempt, method, request)

    def find_servers(self, call: Call) -> None:
        """Look up names when that is due, and wait only when there are no servers yet."""
        changed = self._exchange.changed
        while True:
            with changed:
                names = call.servers.names_to_look_up()
                self._looking_up.update(dict.fromkeys(names, ""))
            for name in names:
                threading.Thread(target=self._look_up, args=(name,), daemon=True).start()
            if call.servers.addresses:
                return
            left_s = call.remaining_s()
            with changed:
                changed.wait_for(
                    lambda: (
                        call.servers.addresses
                        or self.connections.closed
                        or call.cancelled
                        or all(self._looking_up.values())
                    ),
                    left_s,
                )
                words = "; ".join(self._looking_up.values())
            if not call.servers.addresses:
                with call.attempt() as attempt:
                    raise AttemptFailed(attempt, "UNAVAILABLE", words)
                self.pause(call, attempt.pause_s)

    def _look_up(self, name: Name) -> None:
        found, words = [], f"errors resolving {name}"
        try:
            found = dns.look_up(name.host, name.port)
        except (OSError, UnicodeError) as error:
            words += f": {error}"
        finally:
            self._servers.looked_up(name, found)
            with self._exchange.changed:
                self._looking_up[name] = words
                self._exchange.changed.notify_all()
        self._exchange.drop(self._servers.take_unused())

    def _choose(self, call: Call) -> Choice:
        """A server that may answer; asks and tries others in passing."""
        while True:
            choice = call.choose()
            chosen = False
            try:
                for address in choice.probes:
                    self._probe(call.servers, address, PROBE_TIMEOUT_S)
                for address in choice.trials:
                    self._try_out(call.servers, address)
                chosen = not choice.unproven or self._is_proven(call, choice.address)
                if chosen:
                    return choice
            finally:
                if not chosen:
                    call.servers.release(choice)

    def _probe(self, servers: Servers, address: str, timeout_s: float) -> Any:
        """Ask a server whether the model is ready; the answer goes to `servers` by itself."""

        def note(done: Any) -> None:
            ok = done.code() is grpc.StatusCode.OK
            servers.note_ready(address, ready=ok and bool(done.result().ready))

        request = _wire.request("ModelReady", name=_wire.MODEL)
        future = self._exchange.ask(address, "ModelReady", request, timeout_s)
        future.add_done_callback(note)
        return future

    def _try_out(self, servers: Servers, address: str) -> None:
        """Send a server that was silent a trial recording; what comes of it goes to `servers`."""

        def note(done: Any) -> None:
            if not done.cancelled():
                ok = done.code() is grpc.StatusCode.OK
                servers.trial_ended(address, None if ok else self._exchange.failure(done))

        request = _wire.trial_request(TRIAL_TIMEOUT_S)
        future = self._exchange.ask(address, "ModelInfer", request, TRIAL_TIMEOUT_S)
        future.add_done_callback(note)

    def _is_proven(self, call: Call, address: str) -> bool:
        future = self._probe(call.servers, address, min(PROBE_TIMEOUT_S, call.remaining_s()))
        try:
            ready = bool(self._exchange.wait(call, future).ready)
        except grpc.RpcError:
            ready = False
        self.pause(call, 0)
        # Not left to the callback, which may come later than this thread's next choice.
        call.servers.note_ready(address, ready=ready)
        return ready
