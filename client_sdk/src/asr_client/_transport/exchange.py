"""One request and its answer, over a connection to a server; for threads."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from asr_client import _errors, _wire
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call
from asr_client._transport.channels import Access
from asr_client._transport.connections import Connection, Connections
from asr_client._transport.servers import Servers
from asr_client._types import Compression


class Exchange:
    """Sends single requests, and lets other threads cancel them.

    Args:
        servers: those of the client.
        access: the client's token and certificates.
        compression: of what is sent.
    """

    def __init__(
        self, servers: Servers, access: Access, compression: Compression | None = None
    ) -> None:
        self._access = access
        self.connections = Connections(
            lambda address: access.channel(
                grpc, address, servers.name_of(address), compression=compression
            )
        )
        self._lock = threading.Lock()
        self.changed = threading.Condition(self._lock)
        """Notified when it is closed, when a call is cancelled and when a name was looked up."""

    def run(self, call: Call, attempt: OpenAttempt, method: str, request: Any) -> Any:
        """The response; raises AttemptFailed."""
        if method == "ModelInfer":
            _wire.set_timeout(request, attempt.timeout_s)
        connection, responded = self.connections.begin(attempt.address), None
        try:
            send = getattr(connection.stub, method)
            settings = {"timeout": attempt.timeout_s, "metadata": self._metadata(call, attempt)}
            if call.cancellable:
                response = self.wait(call, send.future(request, **settings))
            else:
                response = send(request, **settings)
            responded = True
            return response
        except grpc.RpcError as error:
            responded = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
            raise AttemptFailed(attempt, *self._access.failure(error)) from None
        finally:
            self.end(connection, responded=responded)

    def start(self, call: Call, attempt: OpenAttempt, request: Any) -> tuple[Connection, Any]:
        """Send a recording without waiting; the connection is to be given back with `end`."""
        _wire.set_timeout(request, attempt.timeout_s)
        connection, rpc = self.connections.begin(attempt.address), None
        attempt.connection = connection
        try:
            metadata = self._metadata(call, attempt)
            rpc = connection.stub.ModelInfer.future(
                request, timeout=attempt.timeout_s, metadata=metadata
            )
            return connection, rpc
        finally:
            if rpc is None:
                self.end(connection, responded=None)

    def end(self, connection: Connection, *, responded: bool | None) -> None:
        """Give back what an attempt was sent by."""
        useless = self.connections.end(connection, responded=responded)
        if useless is not None:
            useless.close()

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
            responded = None if done.cancelled() else not _is_deadline(done)
            useless = self.connections.end(connection, responded=responded)
            if useless is not None:
                # Not in gRPC's own thread, which runs this and which closing may wait for.
                threading.Thread(target=useless.close, daemon=True).start()

        future.add_done_callback(note)
        return future

    def failure(self, error: Any) -> tuple[str, str]:
        """What a request ended with: gRPC's status and words."""
        return self._access.failure(error)

    def wait(self, call: Call, rpc: Any) -> Any:
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

    def cancel(self, call: Call) -> None:
        """End a cancellable call of another thread soon; its error is nobody's concern."""
        with self._lock:
            call.cancelled = True
            rpcs = list(call.rpcs)
            self.changed.notify_all()
        for rpc in rpcs:
            rpc.cancel()

    def pause(self, call: Call, pause_s: float) -> None:
        """Wait; raises Cancelled when the client is closed or the call cancelled meanwhile."""
        with self._lock:
            self.changed.wait_for(lambda: self.connections.closed or call.cancelled, pause_s)
        if self.connections.closed:
            raise call.closed()
        if call.cancelled:
            raise call.error(_errors.Cancelled, "CANCELLED", "nobody waits for it")

    def close(self) -> None:
        """End all; may be called again, and leaves a parent's connections alone."""
        if self.connections.forked:
            self.connections.closed = True
            return
        channels = self.connections.close()
        with self._lock:
            self.changed.notify_all()
        for channel in channels:
            channel.close()

    def drop(self, addresses: list[str]) -> None:
        """Close the connections to servers that are of no more use."""
        for address in addresses:
            channel = self.connections.drop(address)
            if channel is not None:
                channel.close()

    def _metadata(self, call: Call, attempt: OpenAttempt) -> tuple[tuple[str, str], ...]:
        return (*self._access.metadata, *call.watch.headers(attempt.span))


def _is_deadline(rpc: Any) -> bool:
    return bool(rpc.code() is grpc.StatusCode.DEADLINE_EXCEEDED)
