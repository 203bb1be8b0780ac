"""A client's open channels, and what becomes of them in a forked child."""

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
"""A parent's channels. They are never let go: gRPC would say goodbye to the parent's servers."""
_grpc_used = False
"""Whether a channel was ever opened here. gRPC's threads outlive the last channel's close for a
moment. What they hold at a fork, a child can never get: some children hang at their first call."""
_MESSAGE = (
    "this process was forked from one that had used a client, and gRPC does not survive that; use "
    "clients after the fork, or start processes by spawn"
)


SILENCE_S = 1.0
"""How long nothing may come from a server that requests wait for before a deadline that passes
there has its connection replaced."""


class Connection:
    """A channel to a server."""

    def __init__(self, address: str, channel: Any) -> None:
        self.address = address
        self.channel = channel
        self.stub = _wire.stub(channel)
        self.requests = 0
        """In flight."""
        self.waiting_since_s: float | None = None
        """When the first request was sent that nothing has come after."""


class Connections:
    """One channel for each server, opened when it is first needed.

    A connection may fall silent without anybody being told. So when a request runs into its
    deadline, and nothing at all came while it waited, the next request gets a new connection; those
    in flight on the old one may still be answered.

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
        """They were open in the parent of this process."""
        _all.add(self)

    def check(self) -> None:
        """Raise RuntimeError when no calls can be made any more."""
        if self.closed:
            raise RuntimeError("the client is closed")
        # A new client would do no better: gRPC's threads are missing, and it hangs or crashes.
        if _parents:
            raise RuntimeError(_MESSAGE)

    def begin(self, address: str, connection: Connection | None = None) -> Connection:
        """The connection for a request; to be given back with `end`.

        Args:
            address: where the request goes.
            connection: one that is in use and that the request is to take, replaced or not.

        Raises:
            RuntimeError: closed, or the parent's.
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
            connection: what it was sent by.
            responded: something came back; False is a deadline, None is that nobody waited so long.

        Returns:
            A channel that is of no more use, which is the caller's to close, or None.
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
        """Use one in use no more: the next request to its server gets a new one."""
        with self._lock:
            if self._held.get(connection.address) is connection:
                self._replace(connection)

    def drop(self, address: str) -> Any:
        """Forget a channel; it is the caller's to close. None when there is none, or in use."""
        with self._lock:
            connection = self._held.pop(address, None)
            if connection is None:
                return None
            if connection.requests:
                self._replaced.add(connection)
                return None
            return connection.channel

    def close(self) -> list[Any]:
        """Open no more; the channels that are left are the caller's to close."""
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
        # Another thread of the parent may have held the lock, and does not exist here.
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
