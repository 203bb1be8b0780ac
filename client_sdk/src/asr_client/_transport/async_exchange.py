"""One request and its answer, over a connection to a server; for tasks of one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc

from asr_client import _wire
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call
from asr_client._transport.channels import Access
from asr_client._transport.connections import Connection, Connections
from asr_client._transport.servers import Servers
from asr_client._types import Compression


class AsyncExchange:
    """Sends single requests.

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
                grpc.aio, address, servers.name_of(address), compression=compression
            ),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()

    async def run(self, call: Call, attempt: OpenAttempt, method: str, request: Any) -> Any:
        """The response of one attempt; raises AttemptFailed."""
        if method == "ModelInfer":
            _wire.set_timeout(request, attempt.timeout_s)
        self.check()
        connection = attempt.connection = self.connections.begin(attempt.address)
        headers = call.watch.headers(attempt.span)
        cancellations_before = cancellations()
        try:
            return await self._by(connection, method, request, attempt.timeout_s, headers)
        except grpc.RpcError as error:
            # A request that fails as its task is cancelled has this error, not that one.
            if cancellations() > cancellations_before:
                raise asyncio.CancelledError from None
            raise AttemptFailed(attempt, *self.failure(error)) from None

    async def ask(
        self,
        address: str,
        method: str,
        request: Any,
        timeout_s: float,
        connection: Connection | None = None,
    ) -> Any:
        """The answer to a question, by that connection; raises gRPC's error."""
        self.check()
        connection = self.connections.begin(address, connection)
        return await self._by(connection, method, request, timeout_s)

    async def _by(
        self,
        connection: Connection,
        method: str,
        request: Any,
        timeout_s: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Any:
        responded = None
        try:
            send = getattr(connection.stub, method)
            metadata = (*self._access.metadata, *headers)
            response = await send(request, timeout=timeout_s, metadata=metadata)
            responded = True
            return response
        except grpc.RpcError as error:
            responded = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            useless = self.connections.end(connection, responded=responded)
            if useless is not None:
                await useless.close()

    def failure(self, error: Any) -> tuple[str, str]:
        """What a request ended with: gRPC's status and words."""
        return self._access.failure(error)

    def check(self) -> None:
        """Raise RuntimeError when no calls can be made, or not from this event loop."""
        self.connections.check()
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError("an AsyncClient belongs to the event loop that first used it")

    async def pause(self, call: Call, pause_s: float) -> None:
        """Wait; raises Cancelled when the client is closed meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause_s)
        # Asked again: with no time to wait at all, `wait_for` does not even look.
        if self._closing.is_set():
            raise call.closed()

    async def close(self) -> None:
        """End all; may be called again, and leaves a parent's connections alone."""
        if self.connections.forked:
            self.connections.closed = True
            return
        channels = self.connections.close()
        self._closing.set()
        for channel in channels:
            await channel.close()

    async def drop(self, addresses: list[str]) -> None:
        """Close the connections to servers that are of no more use."""
        for address in addresses:
            channel = self.connections.drop(address)
            if channel is not None:
                await channel.close()


def cancellations() -> int:
    """How often this task was cancelled; one may go on, to clean up, and be cancelled again."""
    task = asyncio.current_task()
    # Python 3.10 cannot tell.
    return 0 if task is None else int(getattr(task, "cancelling", int)())
