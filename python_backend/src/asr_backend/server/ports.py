"""The ports a server listens on."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from asr_backend.server.errors import StartError
from asr_backend.server.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Port numbers; `http` is 0 when Triton's HTTP is off."""

    grpc: int
    metrics: int
    health: int
    http: int


def asked(settings: Settings) -> Ports:
    """The settings' ports as they are, 0 for one that is still to be chosen."""
    return Ports(
        grpc=settings.grpc_port,
        metrics=settings.metrics_port,
        health=settings.health_port,
        http=settings.http_port,
    )


def claim(settings: Settings) -> Ports:
    """The settings' ports, free ones in place of 0.

    Raises:
        StartError: for a taken port, one port for two uses, or an address of another machine.
    """
    wanted = vars(asked(settings))
    taken: dict[int, str] = {}
    # All are held until all are known, so that two free ones cannot be the same.
    held: list[socket.socket] = []
    found = dict.fromkeys(wanted, 0)
    try:
        for use, port in sorted(wanted.items(), key=lambda item: item[1] == 0):
            if use == "http" and port == 0:
                continue
            if port in taken:
                raise StartError(f"--{use}-port {port}: is --{taken[port]}-port already")
            held.append(_bind(settings.host, port, use))
            found[use] = held[-1].getsockname()[1]
            taken[found[use]] = use
    finally:
        for one in held:
            one.close()
    return Ports(**found)


def _bind(host: str, port: int, use: str) -> socket.socket:
    listener = socket.socket()
    try:
        # Connections of an earlier server may still be closing; that is not a taken port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
    except socket.gaierror:
        listener.close()
        raise StartError(f"--host {host}: not an IPv4 address or a name of one") from None
    except OSError as error:
        listener.close()
        raise StartError(f"--{use}-port {port} on {host}: {error.strerror}") from None
    return listener


def reachable(host: str) -> str:
    """The address by which this machine reaches what listens on `host`."""
    return "127.0.0.1" if host == "0.0.0.0" else host


def triton_answers(host: str, ports: Ports) -> bool:
    """Whether tritonserver listens on all of its ports; it opens one after the other."""
    return all(_answers(host, port) for port in (ports.grpc, ports.http, ports.metrics) if port)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((reachable(host), port), timeout=1).close()
    except OSError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    return host == "localhost" or host.startswith("127.")
