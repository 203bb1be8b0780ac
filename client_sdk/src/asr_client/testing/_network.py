"""A network that fails on demand."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar, cast

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing tells the other end that the connection was reset."""

_T = TypeVar("_T")


class FlakyNetwork:
    """A proxy to a server on this machine, whose connections can be reset or silenced.

    It listens on a free loopback port. A client with its `url` reaches the server through it.

    Args:
        target: HOST:PORT of the server, which may start later.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._url = ""
        self.bytes_to_server = 0
        """The number of bytes that were sent to the server over all connections."""

    @property
    def url(self) -> str:
        """HOST:PORT for a client; known after `start`."""
        if not self._url:
            raise RuntimeError("the network was not started")
        return self._url

    @property
    def connections(self) -> int:
        """The number of connections that are open and not silent."""
        return self._run(lambda: sum(not link.silent for link in self._links))

    def reset(self) -> None:
        """Reset all connections; both ends see that at once."""

        def reset() -> None:
            for link in list(self._links):
                link.reset()

        self._run(reset)

    def silence(self) -> None:
        """Drop all data of the present connections; neither end sees an error.

        They stay open on both sides, as if a router had lost them. New connections work.
        """

        def hush() -> None:
            for link in self._links:
                link.silent = True

        self._run(hush)

    def start(self) -> None:
        """Listen; only once."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="flaky", daemon=True)
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            self._loop.create_server(self._link, "127.0.0.1", 0), self._loop
        )
        self._server = listening.result()
        host, port = self._server.sockets[0].getsockname()[:2]
        self._url = f"{host}:{port}"

    def stop(self) -> None:
        """Reset all connections and stop listening; may be called again."""
        if self._thread is None:
            return
        self._run(self._server.close)
        self.reset()
        # One turn of the loop, so that the sockets are closed.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None
        self._loop.close()

    def __enter__(self) -> FlakyNetwork:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, work: Callable[[], _T]) -> _T:
        async def run() -> _T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _link(self) -> _Side:
        link = _Link(self._links)
        link.client = _Side(link, self._connect)
        link.server = _Side(link, None, self._count)
        return link.client

    def _count(self, size: int) -> None:
        self.bytes_to_server += size

    def _connect(self, link: _Link) -> None:
        async def connect() -> None:
            try:
                await self._loop.create_connection(lambda: link.server, *self._target)
            except OSError:
                link.reset()

        link.connecting = self._loop.create_task(connect())


class _Link:
    """A client's connection and its connection to the server."""

    client: _Side
    server: _Side
    connecting: asyncio.Task[None] | None = None
    """A reference, because the loop keeps none."""

    def __init__(self, links: set[_Link]) -> None:
        self._links = links
        self.silent = False
        links.add(self)

    def other(self, side: _Side) -> _Side:
        return self.server if side is self.client else self.client

    def reset(self) -> None:
        self._links.discard(self)
        for side in (self.client, self.server):
            side.abort()


class _Side(asyncio.Protocol):
    """One end; it passes all data to the other."""

    def __init__(
        self,
        link: _Link,
        connect: Callable[[_Link], None] | None,
        count: Callable[[int], None] | None = None,
    ) -> None:
        self._link = link
        self._connect = connect
        self._count = count
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self._connect is not None:
            # Later, because Python 3.10 starts to read after this method, even if paused here.
            asyncio.get_running_loop().call_soon(self.transport.pause_reading)
            self._connect(self._link)
        elif self._link.client.transport is not None:
            self._link.client.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        other = self._link.other(self)
        if not self._link.silent and other.transport is not None:
            other.write(data)

    def write(self, data: bytes) -> None:
        if self._count is not None:
            self._count(len(data))
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:
        other = self._link.other(self).transport
        if other is not None:
            other.pause_reading()

    def resume_writing(self) -> None:
        other = self._link.other(self).transport
        if other is not None and not other.is_closing():
            other.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if not self._link.silent:
            self._link.reset()

    def abort(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            plug = self.transport.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
