"""Requests on their way to servers, for threads."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from asr_client import _errors, _wire
from asr_client._transport import dns
from asr_client._transport.call import Call
from asr_client._transport.channels import Access
from asr_client._transport.connections import Connection, Connections
from asr_client._transport.dns import Name
from asr_client._transport.hedged import HedgedRequest
from asr_client._transport.sending import AttemptFailed, Sending
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
        self._access = access
        self.connections = Connections(
            lambda address: access.channel(
                grpc, address, servers.name_of(address), compression=compression
            )
        )
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        """Notified when it is closed, when a call is cancelled and when a name was looked up."""
        self._looking_up: dict[Name, str] = {}
        """Names whose addresses are being asked for, and what came of it the last time."""

    def send(self, call: Call, method: str, request: Any) -> Any:
        """The response; raises the call's AsrError, or RuntimeError when it is closed."""
        call.budget.begin()
        try:
            while True:
                self.find_servers(call)
                try:
                    return self._attempt(call, method, request)
                except AttemptFailed as failed:
                    pause_s = call.failed(failed.sending, failed.status, failed.words)
                except ValueError:
                    # What gRPC raises when the channel is closed before the request is sent.
                    self.connections.check()
                    raise
                self.pause(call, pause_s)
        finally:
            call.abandon_attempts()
            call.budget.end()

    def pause(self, call: Call, pause_s: float) -> None:
        """Wait; raises Cancelled when the client is closed or the call cancelled meanwhile."""
        with self._lock:
            self._changed.wait_for(lambda: self.connections.closed or call.cancelled, pause_s)
        if self.connections.closed:
            raise call.closed()
        if call.cancelled:
            raise call.error(_errors.Cancelled, "CANCELLED", "nobody waits for it")

    def cancel(self, call: Call) -> None:
        """End a cancellable call of another thread soon; its error is nobody's concern."""
        with self._lock:
            call.cancelled = True
            rpcs = list(call.rpcs)
            self._changed.notify_all()
        for rpc in rpcs:
            rpc.cancel()

    def close(self) -> None:
        """End all; may be called again, and leaves a parent's connections alone."""
        if self.connections.forked:
            self.connections.closed = True
            return
        channels = self.connections.close()
        with self._lock:
            self._changed.notify_all()
        for channel in channels:
            channel.close()

    def find_servers(self, call: Call) -> None:
        """Look up names when that is due, and wait only when there are no servers yet."""
        while True:
            with self._lock:
                names = call.servers.names_to_look_up()
                self._looking_up.update(dict.fromkeys(names, ""))
            for name in names:
                threading.Thread(target=self._look_up, args=(name,), daemon=True).start()
            if call.servers.addresses:
                return
            left_s = call.remaining_s()
            with self._lock:
                self._changed.wait_for(
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
                self.pause(call, call.failed(call.attempt(), "UNAVAILABLE", words))

    def _look_up(self, name: Name) -> None:
        found, words = [], f"errors resolving {name}"
        try:
            found = dns.look_up(name.host, name.port)
        except (OSError, UnicodeError) as error:
            words += f": {error}"
        finally:
            useless = self._servers.looked_up(name, found)
            with self._lock:
                self._looking_up[name] = words
                self._changed.notify_all()
        for address in useless:
            self._let_go(address)

    def _attempt(self, call: Call, method: str, request: Any) -> Any:
        sending = self._begin(call)
        if method == "ModelInfer" and call.may_send_twice:
            return HedgedRequest(self, call, request).run(sending)
        if method == "ModelInfer":
            _wire.set_timeout(request, sending.timeout_s)
        try:
            response = self._exchange(call, sending, method, request)
        finally:
            self.release(call, sending.choice)
        call.succeeded(sending)
        return response

    def _begin(self, call: Call) -> Sending:
        """Choose a server that may answer, and begin an attempt there."""
        while True:
            choice = call.choose()
            sending = None
            try:
                for address in choice.probes:
                    self._probe(call.servers, address, PROBE_TIMEOUT_S)
                for address in choice.trials:
                    self._try_out(call.servers, address)
                if not choice.unproven or self._is_proven(call, choice.address):
                    sending = call.attempt(choice)
                    return sending
            finally:
                if sending is None:
                    self.release(call, choice)

    def _exchange(self, call: Call, sending: Sending, method: str, request: Any) -> Any:
        connection, heard = self.connections.begin(sending.choice.address), None
        try:
            send = getattr(connection.stub, method)
            settings = {"timeout": sending.timeout_s, "metadata": self._metadata(call, sending)}
            if call.cancellable:
                response = self._await(call, send.future(request, **settings))
            else:
                response = send(request, **settings)
            heard = True
            return response
        except grpc.RpcError as error:
            heard = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
            raise self.failure(sending, error) from None
        finally:
            self.end(connection, heard=heard)

    def start(self, call: Call, sending: Sending, request: Any) -> tuple[Connection, Any]:
        """Send a recording without waiting; the connection is to be given back with `end`."""
        _wire.set_timeout(request, sending.timeout_s)
        connection, rpc = self.connections.begin(sending.choice.address), None
        sending.connection = connection
        try:
            metadata = self._metadata(call, sending)
            rpc = connection.stub.ModelInfer.future(
                request, timeout=sending.timeout_s, metadata=metadata
            )
            return connection, rpc
        finally:
            if rpc is None:
                self.end(connection, heard=None)

    def ask(
        self,
        address: str,
        method: str,
        request: Any,
        timeout_s: float,
        connection: Connection | None = None,
    ) -> Any:
        """Send a question whose answer nobody waits for, by that connection; its future."""
        connection = self.connections.begin(address, connection)
        future = getattr(connection.stub, method).future(
            request, timeout=timeout_s, metadata=self._access.metadata
        )

        def note(done: Any) -> None:
            heard = None if done.cancelled() else not _is_deadline(done)
            useless = self.connections.end(connection, heard=heard)
            if useless is not None:
                # Not in gRPC's own thread, which runs this and which closing may wait for.
                threading.Thread(target=useless.close, daemon=True).start()

        future.add_done_callback(note)
        return future

    def _probe(self, servers: Servers, address: str, timeout_s: float) -> Any:
        """Ask a server whether the model is ready; the answer goes to `servers` by itself."""

        def note(done: Any) -> None:
            ok = done.code() is grpc.StatusCode.OK
            servers.said(address, ready=ok and bool(done.result().ready))

        request = _wire.request("ModelReady", name=_wire.MODEL)
        future = self.ask(address, "ModelReady", request, timeout_s)
        future.add_done_callback(note)
        return future

    def _try_out(self, servers: Servers, address: str) -> None:
        """Send a server that was silent a trial recording; what comes of it goes to `servers`."""

        def note(done: Any) -> None:
            if not done.cancelled():
                ok = done.code() is grpc.StatusCode.OK
                servers.trial_ended(address, None if ok else self._access.failure(done))

        request = _wire.trial_request(TRIAL_TIMEOUT_S)
        future = self.ask(address, "ModelInfer", request, TRIAL_TIMEOUT_S)
        future.add_done_callback(note)

    def _is_proven(self, call: Call, address: str) -> bool:
        future = self._probe(call.servers, address, min(PROBE_TIMEOUT_S, call.remaining_s()))
        try:
            ready = bool(self._await(call, future).ready)
        except grpc.RpcError:
            ready = False
        self.pause(call, 0)
        # Not left to the callback, which may come later than this thread's next choice.
        call.servers.said(address, ready=ready)
        return ready

    def _await(self, call: Call, rpc: Any) -> Any:
        """Wait for a response in a way that `cancel` can end."""
        self.track(call, [rpc])
        return rpc.result()

    def track(self, call: Call, rpcs: list[Any]) -> None:
        """Let `cancel` end these, and these alone."""
        with self._lock:
            call.rpcs = rpcs
            cancelled = call.cancelled
        if cancelled:
            for rpc in rpcs:
                rpc.cancel()

    def failure(self, sending: Sending, error: Any) -> AttemptFailed:
        """What an attempt ended with."""
        return AttemptFailed(sending, *self._access.failure(error))

    def end(self, connection: Connection, *, heard: bool | None) -> None:
        """Give back what an attempt was sent by."""
        useless = self.connections.end(connection, heard=heard)
        if useless is not None:
            useless.close()

    def release(self, call: Call, choice: Choice) -> None:
        """Give back a choice of the call."""
        if call.servers.release(choice):
            self._let_go(choice.address)

    def _metadata(self, call: Call, sending: Sending) -> tuple[tuple[str, str], ...]:
        return (*self._access.metadata, *call.watch.headers(sending.span))

    def _let_go(self, address: str) -> None:
        channel = self.connections.drop(address)
        if channel is not None:
            channel.close()


def _is_deadline(rpc: Any) -> bool:
    return bool(rpc.code() is grpc.StatusCode.DEADLINE_EXCEEDED)
