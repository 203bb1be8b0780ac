"""The ports a server listens on."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from asr_backend.server.errors import StartError
from asr_backend.server.prepare.addresses import family, reachable
from asr_backend.server.settings import Settings

_LOST = re.compile(rb"failed to start (GRPC|HTTP|Metrics) service: .*already in use")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Port numbers; `http` is 0 when Triton's HTTP is off."""

    grpc: int
    metrics: int
    health: int
    http: int


class PortLostError(StartError):
    """Another program listens on a port that was free when it was reserved.

    Attributes:
        use: of the port: "grpc", "metrics", "health" or "http".
    """

    def __init__(self, use: str, port: int) -> None:
        super().__init__(f"--{use}-port {port}: another program took it while the models loaded")
        self.use = use


def asked(settings: Settings) -> Ports:
    """The ports in the settings; 0 for one that is still to be chosen."""
    return Ports(
        grpc=settings.grpc_port,
        metrics=settings.metrics_port,
        health=settings.health_port,
        http=settings.http_port,
    )


@contextlib.contextmanager
def reserve(settings: Settings) -> Iterator[Ports]:
    """The settings' ports, with a free one in place of 0, reserved while the context lasts.

    A socket is bound to each port and does not listen. The kernel then gives the port to no program
    that asks for any free one. Triton sets SO_REUSEADDR like this socket, so it can still bind the
    port, also after a restart. A program that asks for this very number and sets SO_REUSEADDR can
    take it before Triton does; see `lost`.

    Args:
        settings: with numeric addresses.

    Raises:
        StartError: if a port is taken or given twice, or an address is not of this machine.
    """
    wanted = vars(asked(settings))
    taken: dict[int, str] = {}
    found = dict.fromkeys(wanted, 0)
    with contextlib.ExitStack() as held:
        for use, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            if use == "http" and port == 0:
                continue
            if port in taken:
                raise StartError(f"--{use}-port {port}: is the same as --{taken[port]}-port")
            socket_ = held.enter_context(_bind(address_of(use, settings), port, use))
            found[use] = socket_.getsockname()[1]
            taken[found[use]] = use
        yield Ports(**found)


def _bind(address: str, port: int, use: str) -> socket.socket:
    bound = socket.socket(family(address))
    try:
        # Closing connections of an earlier server do not make a port taken.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        raise StartError(f"--{use}-port {port} on {address}: {error.strerror}") from None
    return bound


def address_of(use: str, settings: Settings) -> str:
    """The address that the port of this use listens on."""
    return settings.admin_host if use in ("metrics", "health") else settings.host


def lost(line: bytes) -> str | None:
    """The use of the port that a line of Triton's log reports as taken; None for other lines.

    Triton binds its ports after loading the models; it logs this line and ends with status 1.
    """
    match = _LOST.search(line)
    return match[1].decode().lower() if match else None


def triton_answers(settings: Settings, ports: Ports) -> bool:
    """Whether tritonserver listens on all its ports; it opens them one after another."""
    return all(
        _answers(address_of(use, settings), port)
        for use, port in vars(ports).items()
        if use != "health" and port
    )


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((reachable(address), port), timeout=1).close()
    except OSError:
        return False
    return True
