"""Names that stand for servers, and their addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KIND = socket.SOCK_STREAM
_DNS = "dns:///"


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """A DNS name that stands for servers."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def dns_name(target: str) -> Name | None:
    """The name in `dns:///HOST:PORT`; None for all other targets, which are gRPC's business."""
    if not target.startswith(_DNS):
        return None
    host, _, port = target[len(_DNS) :].rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        return None
    return Name(host=host.strip("[]"), port=int(port))


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
