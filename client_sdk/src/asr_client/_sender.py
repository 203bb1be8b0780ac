"""Requests on their way to servers, for threads."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from asr_client import _core, _dns, _errors, _wire
from asr_client._access import Access
from asr_client._connections import Connections
from asr_client._servers import PROBE_TIMEOUT_S, Name, Servers
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

    def send(self, call: _core.Call, method: str, request: Any) -> Any:
        """The response; raises the call's AsrError, or RuntimeError when it is closed."""
        call.budget.begin()
        try:
            while True:
                self.find_servers(call)
                try:
                    return self._attempt(call, method, request)
                except grpc.RpcError as error:
                    pause_s = call.failed(*self._access.failure(error))
                except ValueError:
                    # What gRPC raises when the channel is closed before the request is sent.
                    self.connections.check()
                    raise
                self.pause(call, pause_s)
        finally:
            call.abandon_attempt()
            call.budget.end()

    def pause(self, call: _core.Call, pause_s: float) -> None:
        """Wait; raises Cancelled when the client is closed or the call cancelled meanwhile."""
        with self._lock:
            self._changed.wait_for(lambda: self.connections.closed or call.cancelled, pause_s)
        if self.connections.closed:
            raise call.closed()
        if call.cancelled:
            raise call.error(_errors.Cancelled, "CANCELLED", "nobody waits for it")

    def cancel(self, call: _core.Call) -> None:
        """End a cancellable call of another thread soon; its error is nobody's concern."""
        with self._lock:
            call.cancelled = True
            rpc = call.rpc
            self._changed.notify_all()
        if rpc is not None:
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

    def find_servers(self, call: _core.Call) -> None:
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
                call.begin_attempt()
                self.pause(call, call.failed("UNAVAILABLE", words))

    def _look_up(self, name: Name) -> None:
        found, words = [], f"errors resolving {name}"
        try:
            found = _dns.look_up(name.host, name.port)
        except (OSError, UnicodeError) as error:
            words += f": {error}"
        finally:
            useless = self._servers.looked_up(name, found)
            with self._lock:
                self._looking_up[name] = words
                self._changed.notify_all()
        for address in useless:
            self._let_go(address)

    def _attempt(self, call: _core.Call, method: str, request: Any) -> Any:
        while True:
            choice = call.choose()
            try:
                for address in choice.probes:
                    self._probe(call.servers, address, PROBE_TIMEOUT_S)
                if choice.unproven and not self._is_proven(call, choice.address):
                    continue
                timeout_s = call.attempt()
                if method == "ModelInfer":
                    _wire.set_timeout(request, timeout_s)
                response = self._exchange(call, choice.address, method, request, timeout_s)
                call.succeeded()
                return response
            finally:
                if call.servers.release(choice.address):
                    self._let_go(choice.address)

    def _exchange(
        self, call: _core.Call, address: str, method: str, request: Any, timeout_s: float
    ) -> Any:
        connection, heard = self.connections.begin(address), None
        try:
            send = getattr(connection.stub, method)
            metadata = (*self._access.metadata, *call.watch.headers())
            settings = {"timeout": timeout_s, "metadata": metadata}
            if call.cancellable:
                response = self._await(call, send.future(request, **settings))
            else:
                response = send(request, **settings)
            heard = True
            return response
        except grpc.RpcError as error:
            heard = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            useless = self.connections.end(connection, heard=heard)
            if useless is not None:
                useless.close()

    def _probe(self, servers: Servers, address: str, timeout_s: float) -> Any:
        """Ask a server whether the model is ready; the answer goes to `servers` by itself."""
        connection = self.connections.begin(address)
        request = _wire.request("ModelReady", name=_wire.MODEL)
        ask = connection.stub.ModelReady.future
        future = ask(request, timeout=timeout_s, metadata=self._access.metadata)

        def note(done: Any) -> None:
            status = done.code()
            servers.answered(
                address, ready=status is grpc.StatusCode.OK and bool(done.result().ready)
            )
            heard = None if done.cancelled() else status is not grpc.StatusCode.DEADLINE_EXCEEDED
            useless = self.connections.end(connection, heard=heard)
            if useless is not None:
                # Not in gRPC's own thread, which runs this and which closing may wait for.
                threading.Thread(target=useless.close, daemon=True).start()

        future.add_done_callback(note)
        return future

    def _is_proven(self, call: _core.Call, address: str) -> bool:
        future = self._probe(call.servers, address, min(PROBE_TIMEOUT_S, call.remaining_s()))
        try:
            ready = bool(self._await(call, future).ready)
        except grpc.RpcError:
            ready = False
        self.pause(call, 0)
        # Not left to the callback, which may come later than this thread's next choice.
        call.servers.answered(address, ready=ready)
        return ready

    def _await(self, call: _core.Call, rpc: Any) -> Any:
        """Wait for a response in a way that `cancel` can end."""
        with self._lock:
            call.rpc = rpc
            cancelled = call.cancelled
        if cancelled:
            rpc.cancel()
        return rpc.result()

    def _let_go(self, address: str) -> None:
        channel = self.connections.drop(address)
        if channel is not None:
            channel.close()
