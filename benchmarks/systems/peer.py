"""Servers of other projects: each in an environment and a process of its own, called over HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import urllib3

from benchmarks.environments import NotInstalled, python_with
from benchmarks.memory import cap_memory
from benchmarks.systems.base import Answer, CannotRun, Padding
from tools.local_server import free_ports
from tools.processes import tree

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 300.0
MAX_BATCH_SIZE = 8
"""Maximum clips in one forward of a peer: 16 of them, padded to 35 s, take 11 GB."""
MAX_CALLERS = 64
BATCH_WAIT_S = 0.01
"""How long a peer waits for a batch to fill."""


class Peer:
    """See System. A subclass defines how to start the server and how to call it.

    A peer's file is two programs: a subclass, which the runner uses, and a server, which is the
    same file run as `python -m MODULE PORT CHECKPOINT PADDING_LOG` in the peer's environment.

    Attributes:
        requirements: what pip installs there.
        path: where a clip is posted to.
        ready_path: answers 200 once the server is ready.
        content_type: of what `encode` gives.
        port: where the server listens, on loopback.
        padding_log: where its recogniser writes the size of each batch.
    """

    at_once: Sequence[int] = (1, 16)
    takes_batches = False
    is_peer = True
    name: str
    requirements: Sequence[str]
    path = "/transcribe"
    ready_path = "/health"
    content_type = "audio/wav"

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.padding_log = Path(os.devnull)
        self._log = Path(os.devnull)
        self._process: subprocess.Popen[bytes] | None = None
        self._pool = urllib3.HTTPConnectionPool(
            "127.0.0.1", self.port, maxsize=MAX_CALLERS, timeout=CALL_TIMEOUT_S, retries=False
        )

    def start(self, checkpoint: Path, work: Path) -> int:
        """See System."""
        try:
            python = python_with(self.requirements)
        except NotInstalled as error:
            raise CannotRun(f"not installed: {error}") from error
        self.padding_log = work / "padding.txt"
        self.padding_log.touch()
        self._log = work / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(python, checkpoint),
                cwd=ROOT,
                env=self.environment(python, checkpoint),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        cap_memory(self._process.pid)
        self._wait_until_ready()
        return self._process.pid

    def call(self, wavs: Sequence[bytes]) -> Answer:
        """See System."""
        return Answer(texts=[self.send(wav) for wav in wavs])

    def padding(self) -> Padding:
        """See System."""
        lines = [line.split() for line in self.padding_log.read_text().splitlines()]
        return Padding(
            audio_s=sum(int(own) for own, _ in lines) / 16_000,
            padded_s=sum(int(padded) for _, padded in lines) / 16_000,
        )

    def stop(self) -> None:
        """See System."""
        if self._process is None:
            return
        # Some leave workers behind that a signal to the server does not reach.
        processes = tree(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=STOP_TIMEOUT_S)
        for process in alive:
            process.kill()
        self._process.wait()
        self._pool.close()

    def is_ready(self) -> bool:
        """Whether a call would be answered; may raise what urllib3 does."""
        return self._pool.request("GET", self.ready_path, timeout=2).status == 200

    def encode(self, wav: bytes) -> bytes:
        """The body of a request."""
        return wav

    def decode(self, body: bytes) -> str:
        """The transcript in an answer."""
        return body.decode()

    def command(self, python: Path, checkpoint: Path) -> list[str]:
        """What starts the server."""
        module = type(self).__module__
        arguments = (str(self.port), str(checkpoint), str(self.padding_log))
        return [str(python), "-m", module, *arguments]

    def environment(self, python: Path, checkpoint: Path) -> Mapping[str, str]:
        """The variables of the server's process."""
        path = os.pathsep.join((str(python.parent), os.environ.get("PATH", os.defpath)))
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        return {**os.environ, **offline, "PATH": path, "VIRTUAL_ENV": str(python.parents[1])}

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None:
                raise CannotRun(f"it ended while it started: {self._last_line()}")
            if time.monotonic() > deadline:
                raise CannotRun(f"not ready within {START_TIMEOUT_S:.0f} s: {self._last_line()}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            return self.is_ready()
        except (OSError, urllib3.exceptions.HTTPError):
            return False

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it printed nothing"

    def send(self, wav: bytes) -> str:
        """Transcribe one clip, from any thread."""
        headers = {"Content-Type": self.content_type}
        response = self._pool.request("POST", self.path, self.encode(wav), headers=headers)
        if response.status != 200:
            message = response.data[:200].decode(errors="replace")
            raise RuntimeError(f"status {response.status}: {message}")
        return self.decode(response.data)


def serve_arguments() -> tuple[int, str, str]:
    """Port, checkpoint and padding log, as the server of a peer is given them."""
    port, checkpoint, padding_log = sys.argv[1:]
    return int(port), checkpoint, padding_log
