"""The addresses that a name stands for."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

KIND = socket.SOCK_STREAM


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name; takes as long as the system's resolver likes.

    Raises:
        OSError: it has none, or nobody knows.
    """
    return addresses(socket.getaddrinfo(host, port, type=KIND))


def addresses(found: Iterable[tuple[Any, ...]]) -> list[str]:
    """HOST:PORT of each of getaddrinfo's answers, without repetitions."""
    written = (
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for *_, (host, port, *_) in found
    )
    return list(dict.fromkeys(written))
