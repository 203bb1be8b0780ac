"""Starts tritonserver, keeps its models alive, and ends it without losing work."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from asr_backend.server.access import Access, client_flags
from asr_backend.server.addresses import bracketed, reachable
from asr_backend.server.errors import StartError
from asr_backend.server.healing import ModelKeeper, State
from asr_backend.server.health import Health, HealthServer
from asr_backend.server.output import log, say
from asr_backend.server.ports import PortLostError, Ports, triton_answers
from asr_backend.server.process import TritonProcess
from asr_backend.server.run_directory import RunDirectory
from asr_backend.server.settings import Settings
from asr_backend.server.stubs import Stub, find_stubs
from asr_backend.server.triton import Triton, command_line, environment

FRONT, ACOUSTIC = "transcribe", "wav2vec2"
_TICK_S = 0.1
# For tritonserver to end by itself.
_END_S = 3.0
# For the same after a crash: its last words are a stack's trace.
_CRASH_S = 10.0


def _command() -> str:
    """The command `asr` as a person can type it: by its path where it is beside us and off PATH."""
    beside = Path(sys.executable).with_name("asr")
    return str(beside) if shutil.which("asr") is None and beside.exists() else "asr"


class Supervisor:
    """One tritonserver from its start to its end; `run` is called once, from the main thread."""

    def __init__(
        self,
        settings: Settings,
        triton: Triton,
        ports: Ports,
        access: Access,
        packaged: Path,
        configs: dict[str, str],
    ) -> None:
        self._settings, self._triton, self._ports = settings, triton, ports
        self._access = access
        self._packaged, self._configs = packaged, configs
        self._keepers: list[ModelKeeper] = []
        self._state = "starting"
        self._stops = 0

    def run(self) -> int:
        """Serves until it is stopped or fails; returns the exit status.

        Raises:
            StartError: when the run directory cannot be made or the health port is taken.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._stop)
        try:
            health = HealthServer(self._settings.admin_host, self._ports.health, self._health)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortLostError("health", self._ports.health) from None
            raise StartError(f"--health-port {self._ports.health}: {error.strerror}") from None
        with contextlib.closing(health), RunDirectory(self._settings.run_dir) as run:
            run.copy_models(self._packaged, self._configs)
            argv = command_line(
                self._triton,
                self._settings,
                self._ports,
                repository=run.repository,
                backends=self._triton.backend_directory(run.path),
                region_prefix=run.region_prefix,
                # Nobody keeps the value: those calls are locked for good.
                secret=secrets.token_urlsafe(32),
                access=self._access,
            )
            env = environment(self._triton, os.environ) | {"TMPDIR": str(run.path)}
            with TritonProcess(argv, env, run) as process:
                return self._supervise(process, run)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    def _health(self) -> Health:
        models: dict[str, dict[str, str | int]] = {}
        for keeper in self._keepers:
            models[keeper.model] = {
                "state": keeper.state.value,
                "instances": len(keeper.instances),
                "dead": keeper.dead,
                "heals": keeper.heals,
            }
        state = self._state
        if state == "ready" and any(m["state"] != "ready" or m["dead"] for m in models.values()):
            state = "healing"
        return Health(ready=state == "ready", state=state, models=models)

    def _supervise(self, process: TritonProcess, run: RunDirectory) -> int:
        def finder(model: str) -> Callable[[], list[Stub]]:
            return lambda: [
                stub
                for stub in find_stubs(process.psutil, run.repository)
                if stub.model == model and stub.is_alive()
            ]

        keepers = {
            model: ModelKeeper(model, process, run, finder(model), log) for model in self._configs
        }
        keepers[FRONT].upstream = keepers[ACOUSTIC]
        self._keepers = list(keepers.values())
        started_s = time.monotonic()
        while not self._stops:
            time.sleep(_TICK_S)
            if (status := process.status()) is not None:
                if use := process.lost_port():
                    raise PortLostError(use, vars(self._ports)[use])
                log(f"tritonserver ended by itself with status {status}")
                return status or 1
            if time.monotonic() > process.crashed_s + _CRASH_S:
                log("tritonserver crashed and hangs")
                return 1
            if self._state == "ready":
                for keeper in self._keepers:
                    keeper.step(time.monotonic())
                if any(keeper.state is State.FAILED for keeper in self._keepers):
                    return 1
            elif all(process.loads[model] for model in self._configs) and triton_answers(
                self._settings, self._ports
            ):
                load_s = time.monotonic() - started_s
                for keeper in self._keepers:
                    keeper.adopt(load_s)
                self._state = "ready"
                self._announce(load_s)
        if self._state != "ready":
            return 0
        return self._drain(process, run)

    def _announce(self, load_s: float) -> None:
        host, admin_host = bracketed(self._settings.host), bracketed(self._settings.admin_host)
        ports = self._ports
        http = f", http {host}:{ports.http}" if ports.http else ""
        log(f"both models are ready after {load_s:.1f} s")
        say(
            f"asr-server ready: grpc {host}:{ports.grpc}{http}, "
            f"metrics http://{admin_host}:{ports.metrics}/metrics, "
            f"health http://{admin_host}:{ports.health}/readyz\n"
            f"try: {_command()} transcribe FILE "
            f"--url {bracketed(reachable(self._settings.host))}:{ports.grpc}"
            f"{client_flags(self._settings)}"
        )

    def _drain(self, process: TritonProcess, run: RunDirectory) -> int:
        """Lets the files in work finish, then the direct calls of wav2vec2, then ends Triton."""
        self._state = "draining"
        run.turn_not_ready()
        log(f"draining: files in work have {self._settings.exit_timeout_s:g} s; again to hurry")
        deadline_s = time.monotonic() + self._settings.exit_timeout_s
        waiting = sorted(self._keepers, key=lambda keeper: keeper.model != FRONT)
        while waiting and self._may_wait(process, deadline_s):
            for keeper in waiting[1:]:
                keeper.step(time.monotonic())
            if waiting[0].drain(time.monotonic()):
                waiting.pop(0)
            time.sleep(_TICK_S)
        if waiting:
            log("stopped with calls in work" if self._stops < 2 else "stopped in a hurry")
        process.terminate()
        # A call that a dead instance never answered would keep it for its own exit timeout.
        deadline_s = time.monotonic() + _END_S
        while self._may_wait(process, deadline_s):
            time.sleep(_TICK_S)
        return 1 if waiting else 0

    def _may_wait(self, process: TritonProcess, deadline_s: float) -> bool:
        return (
            self._stops < 2
            and process.status() is None
            and time.monotonic() < deadline_s
            and not any(keeper.state is State.FAILED for keeper in self._keepers)
        )
