"""A client's open channels, and what becomes of them in a forked child."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from asr_client import _wire

_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_parents: list[object] = []
"""A parent's channels. They are never let go: gRPC would say goodbye to the parent's servers."""
_MESSAGE = (
    "this process was forked from one with an open client, and gRPC does not survive that; close "
    "clients before the fork, make them after it, or start processes by spawn"
)


class Connections:
    """One channel for each server, opened when it is first needed.

    Args:
        open_channel: makes a channel to an address.
    """

    def __init__(self, open_channel: Callable[[str], Any]) -> None:
        self._open_channel = open_channel
        self._lock = threading.Lock()
        self._held: dict[str, tuple[Any, Any]] = {}
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

    def stub(self, address: str) -> Any:
        """The service's methods on that server.

        Raises:
            RuntimeError: closed, or the parent's.
        """
        with self._lock:
            self.check()
            if address not in self._held:
                channel = self._open_channel(address)
                self._held[address] = (channel, _wire.stub(channel))
            return self._held[address][1]

    def drop(self, address: str) -> Any:
        """Forget a channel; it is the caller's to close. None when there is none."""
        with self._lock:
            return self._held.pop(address, (None,))[0]

    def close(self) -> list[Any]:
        """Open no more; the channels that are left are the caller's to close."""
        with self._lock:
            self.closed = True
            channels = [channel for channel, _ in self._held.values()]
            self._held.clear()
            return channels

    def _leave_to_parent(self) -> None:
        # Another thread of the parent may have held the lock, and does not exist here.
        self._lock = threading.Lock()
        if self._held:
            _parents.append(self._held)
            self._held = {}
            self.forked = True


def _after_fork() -> None:
    for connections in list(_all):
        connections._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
