"""An asr-server of the load test's own, with the embedded demo checkpoint, on free ports."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

READY_S = 300.0
"""Longest wait for the models to load, seconds."""

_STOP_S = 90.0


@contextlib.contextmanager
def own_server(*flags: str) -> Iterator[str]:
    """Start asr-server, wait until it is ready, yield its HOST:PORT, and stop it.

    Args:
        flags: More flags for asr-server.

    Raises:
        RuntimeError: It is not installed beside this Python, ended early or was not ready within
            `READY_S`.
    """
    program = Path(sys.executable).with_name("asr-server")
    if not program.exists():
        raise RuntimeError(f"no {program}: install asr-backend[triton], or give --url")
    grpc_port, metrics_port, health_port = _free_ports(3)
    ports = {"grpc": grpc_port, "metrics": metrics_port, "health": health_port}
    port_flags = [f"--{name}-port={port}" for name, port in ports.items()]
    process = subprocess.Popen([str(program), *port_flags, *flags])
    try:
        _wait_until_ready(process, health_port)
        yield f"127.0.0.1:{grpc_port}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], health_port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"asr-server ended with status {process.returncode}")
        if _is_ready(health_port):
            return
        time.sleep(0.2)
    raise RuntimeError(f"asr-server was not ready within {READY_S:.0f} s")


def _is_ready(health_port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", health_port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        response.read()
        return response.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
