"""A real asr-server on free loopback ports, for the demo, the tests and the load tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from tools.processes import tree

READY_S = 300.0
"""Longest wait for the models to load, in seconds."""
STOP_S = 90.0
"""Longest wait for a stop, in seconds; longer than asr-server's own exit timeout."""
_POLL_S = 0.1
_MODELS = ("wav2vec2", "transcribe", "transcribe_stream")
ROLES = (*_MODELS, "tritonserver", "asr-server")
"""Kinds of processes of a server: those of each model, Triton itself, and the supervisor."""


def role(command_line: Sequence[str]) -> str:
    """Which of ROLES a process of a server has.

    A process of a model has the path of its model.py among its arguments.
    """
    for model in _MODELS:
        if any(argument.endswith(f"/{model}/1/model.py") for argument in command_line):
            return model
    is_triton = any(program.endswith("/tritonserver") for program in command_line[:1])
    return "tritonserver" if is_triton else "asr-server"


@dataclass(frozen=True, kw_only=True)
class LocalServer:
    """A running asr-server."""

    process: subprocess.Popen[bytes]
    grpc_port: int
    metrics_port: int
    health_port: int

    @property
    def ports(self) -> tuple[int, int, int]:
        """Those of gRPC, metrics and health, to start another server in this one's place."""
        return self.grpc_port, self.metrics_port, self.health_port

    @property
    def url(self) -> str:
        """HOST:PORT of the gRPC endpoint."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Of Triton's metrics page."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def stubs(self, model: str) -> list[psutil.Process]:
        """The living processes of a model's instances, those of earlier loads too."""
        return [
            process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if process.status() != psutil.STATUS_ZOMBIE
            and any("triton_python_backend_stub" in part for part in process.cmdline()[:1])
            and any(f"/{model}/" in part for part in process.cmdline())
        ]

    def serving_stubs(self, model: str) -> list[psutil.Process]:
        """The processes that take new calls: those of an earlier load only finish theirs."""
        count = self.health()[1]["models"][model]["instances"]
        return sorted(self.stubs(model), key=psutil.Process.create_time)[-count:]

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds of the living processes by role."""
        used_s = dict.fromkeys(ROLES, 0.0)
        for process in tree(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if command_line := process.cmdline():
                    times = process.cpu_times()
                    used_s[role(command_line)] += times.user + times.system
        return used_s

    def health(self, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
        """Status and JSON of one of the health endpoints; (0, {}) where no server listens."""
        status, text = self.health_page(path)
        return status, json.loads(text) if status else {}

    def health_page(self, path: str) -> tuple[int, str]:
        """Status and text of one of the health endpoints; (0, "") where no server listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=2)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def metrics(self) -> str:
        """Triton's metrics page, the service's own among them."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as page:
            return str(page.read().decode())

    def wait_until_ready(self, timeout_s: float = READY_S) -> None:
        """Return when both models are ready.

        Raises:
            RuntimeError: the server ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while self.health()[0] != 200:
            if self.process.poll() is not None:
                raise RuntimeError(f"asr-server ended with status {self.process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"asr-server was not ready within {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def stop(self, timeout_s: float = STOP_S, *, at_once: bool = False) -> int:
        """Ask the server to end, then kill it; returns its exit status.

        Args:
            timeout_s: longest wait for the end.
            at_once: drop calls in flight and leave the models no time to unload.
        """
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.monotonic() + timeout_s
        while at_once and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self.process.terminate()
        try:
            return self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def local_server(
    *flags: str,
    log: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    ports: tuple[int, int, int] | None = None,
    ready_s: float = READY_S,
    stop_s: float = STOP_S,
    program: Path | None = None,
) -> Iterator[LocalServer]:
    """Start asr-server, wait until both models are ready, and stop it immediately at the end.

    Args:
        flags: more flags for asr-server.
        log: where its output goes; None is this process's own.
        env: its environment; None is this process's own.
        ports: for gRPC, metrics and health; None picks free ones.
        ready_s: longest wait for the models to load.
        stop_s: longest wait for its end; then it is killed.
        program: asr-server; None is the one beside this Python.

    Raises:
        RuntimeError: it is not installed beside this Python, ended early or was not ready in time.
    """
    program = program or Path(sys.executable).with_name("asr-server")
    if not program.exists():
        raise RuntimeError(f"there is no {program}: run make setup")
    grpc_port, metrics_port, health_port = ports or free_ports(3)
    process = subprocess.Popen(
        [
            str(program),
            f"--grpc-port={grpc_port}",
            f"--metrics-port={metrics_port}",
            f"--health-port={health_port}",
            *flags,
        ],
        stdout=log,
        stderr=log,
        env=env,
    )
    server = LocalServer(
        process=process, grpc_port=grpc_port, metrics_port=metrics_port, health_port=health_port
    )
    try:
        server.wait_until_ready(ready_s)
        yield server
    finally:
        server.stop(stop_s, at_once=True)


def free_ports(count: int) -> list[int]:
    """Free loopback ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
