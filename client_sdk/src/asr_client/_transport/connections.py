"""The open channels of a client, also in a forked child process."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from asr_client import _wire

_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_parents: list[object] = []
"""Channels of the parent process. They are kept, because gRPC would close them for the parent."""
_grpc_used = False
"""Whether this process ever opened a channel. gRPC's threads run a little longer than the last
channel. Locks that they hold during a fork stay locked in the child, which may then hang."""
_MESSAGE = (
    "this process was forked from one that had used a client, and gRPC does not survive that; use "
    "clients after the fork, or start processes by spawn"
)


SILENCE_S = 1.0
"""A connection is replaced when a deadline passes and the server sent nothing for this time."""


class Connection:
    """A channel to a server."""

    def __init__(self, address: str, channel: Any) -> None:
        self.address = address
        self.channel = channel
        self.stub = _wire.stub(channel)
        self.requests = 0
        """In flight."""
        self.waiting_since_s: float | None = None
        """When the first request was sent after the last response."""


class Connections:
    """One channel for each server, opened when it is first needed.

    A connection may stop working without an error. So when a deadline passes and the server sent
    nothing meanwhile, the next request gets a new connection. Requests in flight on the old one
    may still be answered.

    Args:
        open_channel: makes a channel to an address.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        open_channel: Callable[[str], Any],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_channel = open_channel
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, Connection] = {}
        self._replaced: set[Connection] = set()
        self.closed = False
        self.forked = False
        """The channels were open in the parent process."""
        _all.add(self)

    def check(self) -> None:
        """Raise RuntimeError when no more calls can be made."""
        if self.closed:
            raise RuntimeError("the client is closed")
        # gRPC's threads are missing in the child, so that even a new client would hang or crash.
        if _parents:
            raise RuntimeError(_MESSAGE)

    def begin(self, address: str, connection: Connection | None = None) -> Connection:
        """The connection for a request; `end` must give it back.

        Args:
            address: the server.
            connection: a connection in use that the request must take, replaced or not.

        Raises:
            RuntimeError: the client is closed, or was used before a fork.
        """
        with self._lock:
            connection = connection or self._open(address)
            connection.requests += 1
            if connection.waiting_since_s is None:
                connection.waiting_since_s = self._clock()
            return connection

    def end(self, connection: Connection, *, responded: bool | None) -> Any:
        """Note how a request ended.

        Args:
            connection: the connection of the request.
            responded: True if the server sent something, False if the deadline passed, None if the
                request was cancelled before.

        Returns:
            A channel that the caller must close, or None.
        """
        with self._lock:
            now = self._clock()
            connection.requests -= 1
            if responded:
                connection.waiting_since_s = now if connection.requests else None
            elif responded is False and self._is_silent(connection, now):
                self._replace(connection)
            if connection in self._replaced and not connection.requests:
                self._replaced.discard(connection)
                return connection.channel
            return None

    def replace(self, connection: Connection) -> None:
        """Give the next request to this server a new connection."""
        with self._lock:
            if self._held.get(connection.address) is connection:
                self._replace(connection)

    def drop(self, address: str) -> Any:
        """Forget a server. Returns a channel that the caller must close, or None."""
        with self._lock:
            connection = self._held.pop(address, None)
            if connection is None:
                return None
            if connection.requests:
                self._replaced.add(connection)
                return None
            return connection.channel

    def close(self) -> list[Any]:
        """Open no more channels. Returns those that the caller must close."""
        with self._lock:
            self.closed = True
            channels = [one.channel for one in (*self._held.values(), *self._replaced)]
            self._held.clear()
            self._replaced.clear()
            return channels

    def _replace(self, connection: Connection) -> None:
        del self._held[connection.address]
        self._replaced.add(connection)

    def _is_silent(self, connection: Connection, now: float) -> bool:
        since = connection.waiting_since_s
        current = self._held.get(connection.address) is connection
        return current and since is not None and now - since >= SILENCE_S

    def _open(self, address: str) -> Connection:
        global _grpc_used
        self.check()
        _grpc_used = True
        if address not in self._held:
            self._held[address] = Connection(address, self._open_channel(address))
        return self._held[address]

    def _leave_to_parent(self) -> None:
        # A thread of the parent may have held the lock; it does not exist here.
        self._lock = threading.Lock()
        if self._held or self._replaced:
            _parents.append((self._held, self._replaced))
            self._held, self._replaced = {}, set()
            self.forked = True


def _after_fork() -> None:
    if _grpc_used:
        _parents.append("gRPC's threads")
    for connections in list(_all):
        connections._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
