"""Starts tritonserver, replaces it and its models' processes, and ends it without losing calls."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from asr_backend.ctc.decoders import why_no_search
from asr_backend.server.console import log, say
from asr_backend.server.errors import StartError
from asr_backend.server.models import MODELS
from asr_backend.server.prepare.addresses import bracketed, reachable
from asr_backend.server.prepare.credentials import Access, client_flags
from asr_backend.server.prepare.ports import PortLostError, Ports, address_of, triton_answers
from asr_backend.server.prepare.run_directory import RunDirectory
from asr_backend.server.prepare.tritonserver import Triton, command_line, environment
from asr_backend.server.settings import Settings
from asr_backend.server.supervise.allowance import COUNT_FOR_S, MAX_REPLACEMENTS, Allowance
from asr_backend.server.supervise.canary import Canary
from asr_backend.server.supervise.hang_detector import Unchanged
from asr_backend.server.supervise.health import Health, HealthServer
from asr_backend.server.supervise.model_state import State
from asr_backend.server.supervise.model_supervisor import ModelSupervisor
from asr_backend.server.supervise.process import (
    OF_NO_GPU,
    PrecisionRefusedError,
    TritonProcess,
)
from asr_backend.server.supervise.stubs import Stub, find_stubs
from asr_backend.triton_io.progress import HANG_S, PREFIX_VARIABLE
from asr_backend.triton_io.start_failure import read_reason

_TICK_S = 0.1
# Two signals within this time count as one: `timeout` signals a process and then its group.
_ONE_SIGNAL_S = 0.5
# How long tritonserver may take to end by itself.
_END_S = 3.0
# The same after a crash, while it writes a stack trace.
_CRASH_S = 2.0
# Downloads are over by then: a longer start does not end.
_MAX_START_S = 900.0


def _command() -> str:
    """The command `asr` as a person can type it: with its path if it is not on PATH."""
    beside = Path(sys.executable).with_name("asr")
    return str(beside) if shutil.which("asr") is None and beside.exists() else "asr"


class Supervisor:
    """One server from its start to its end; `run` is called once, from the main thread.

    A tritonserver that has served and then ends, crashes or hangs is replaced on the same ports. If
    it never served, the server ends: a new one would fail the same way.
    """

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
        self._models: list[ModelSupervisor] = []
        self._state = "starting"
        self._restarts = 0
        self._stops = 0
        self._stopped_s = 0.0

    def run(self) -> int:
        """Serves until it is stopped or fails; returns the exit status.

        Raises:
            StartError: if the run directory cannot be made, a port is taken, or the precision that
                `auto` chose is too inexact.
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
            backends = self._triton.backend_directory(run.path)
            self._models = self._supervisors(run)
            allowance = Allowance()
            while (status := self._life(run, backends)) is None:
                if allowance.is_spent(time.monotonic()):
                    log(
                        f"giving up: tritonserver was replaced {MAX_REPLACEMENTS} times in "
                        f"{COUNT_FOR_S / 60:.0f} minutes; asr-server ends"
                    )
                    return 1
                while not allowance.may_now(time.monotonic()) and not self._stops:
                    time.sleep(_TICK_S)
                if self._stops:
                    return 0
                allowance.spend(time.monotonic())
                self._restarts += 1
                run.reset()
            return status

    def _supervisors(self, run: RunDirectory) -> list[ModelSupervisor]:
        """One for each served model, in the order in which they are drained."""
        made: dict[str, ModelSupervisor] = {}
        for spec in reversed([spec for spec in MODELS if spec.name in self._configs]):
            upstream = made.get(spec.upstream)
            made[spec.name] = ModelSupervisor(spec, run=run, log=log, upstream=upstream)
        return list(reversed(made.values()))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if not self._stops or now_s > self._stopped_s + _ONE_SIGNAL_S:
            self._stops += 1
            self._stopped_s = now_s

    def _health(self) -> Health:
        models: dict[str, dict[str, str | int]] = {}
        ready = self._state == "ready"
        state = self._state
        for model in self._models:
            models[model.spec.name] = {
                "state": model.state.value,
                "instances": len(model.instances),
                "dead": model.dead,
                "heals": model.heals,
                "hangs": model.hangs,
            }
            if ready and (model.state is not State.READY or model.dead):
                state = "healing"
        ready = ready and all(model.serves for model in self._models if model.spec.is_required)
        return Health(
            ready=ready,
            state=state,
            models=models,
            restarts=self._restarts,
            certificate_expires=self._access.tls.expires if self._access.tls else None,
        )

    def _life(self, run: RunDirectory, backends: Path) -> int | None:
        """One tritonserver from its start to its end.

        Returns:
            The server's exit status, None if a new tritonserver is to replace this one.
        """
        argv = command_line(
            self._triton,
            self._settings,
            self._ports,
            repository=run.repository,
            backends=backends,
            region_prefix=run.region_prefix,
            # The value is stored nowhere: those calls stay locked.
            secret=secrets.token_urlsafe(32),
            access=self._access,
        )
        env = environment(self._triton, os.environ) | {
            "TMPDIR": str(run.path),
            PREFIX_VARIABLE: run.progress_prefix,
        }
        admin_host = reachable(address_of("metrics", self._settings))
        with (
            TritonProcess(argv, env, run, hidden=self._hidden()) as process,
            contextlib.closing(Canary(admin_host, self._ports.metrics)) as canary,
        ):
            for model in self._models:
                model.begin(process, partial(_living, process, run, model.spec.name))
            ends = partial(self._why_it_ended, process, canary, Unchanged())
            status = self._supervise(process, run, ends)
        # Behind tritonserver's last output.
        if status and self._state == "starting":
            self._say_why(process, run)
        return status

    def _hidden(self) -> re.Pattern[bytes] | None:
        """The lines of Triton's log that mean nothing here: those of no GPU, on a CPU."""
        on_gpu = any("KIND_GPU" in config for config in self._configs.values())
        return None if on_gpu else OF_NO_GPU

    def _say_why(self, process: TritonProcess, run: RunDirectory) -> None:
        """Logs why the server could not start, as far as that is known."""
        for model in reversed(self._models):
            if reason := read_reason(run.progress_prefix, model.spec.name):
                log(f"cannot start: {model.spec.name}: {reason}")
                return
        if process.why_failed:
            log(f"cannot start: {process.why_failed}")

    def _why_it_ended(self, process: TritonProcess, canary: Canary, answers: Unchanged[int]) -> str:
        """Why this tritonserver no longer serves, in words; "" if it does."""
        now_s = time.monotonic()
        if (status := process.status()) is not None:
            return f"ended by itself with status {status}"
        if now_s > process.crashed_s + _CRASH_S:
            return "crashed and hangs"
        if self._state not in ("ready", "draining"):
            return ""  # It need not answer while it loads.
        if (silent_s := answers.look(canary.answers, now_s)) >= HANG_S:
            return f"hangs: it has not answered for {silent_s:.1f} s"
        return ""

    def _supervise(
        self, process: TritonProcess, run: RunDirectory, ends: Callable[[], str]
    ) -> int | None:
        started_s = time.monotonic()
        while not self._stops:
            time.sleep(_TICK_S)
            now_s = time.monotonic()
            if why := ends():
                return self._ended(process, why)
            if self._state == "ready":
                for model in self._models:
                    model.step(now_s)
                states = {model.state for model in self._models}
                if State.FAILED in states:
                    return 1
                if State.STUCK in states:
                    return self._ended(process, "cannot finish a load")
            elif all(model.is_loaded for model in self._models) and triton_answers(
                self._settings, self._ports
            ):
                self._serves(now_s, now_s - started_s)
            elif now_s > started_s + _MAX_START_S:
                return self._ended(process, f"was not ready within {_MAX_START_S:.0f} s")
        if self._state != "ready":
            return 0
        return self._drain(process, run, ends)

    def _ended(self, process: TritonProcess, why: str) -> int | None:
        """Handles an unexpected end: the exit status, or None to replace tritonserver."""
        log(f"tritonserver {why}")
        if self._state == "starting":
            if use := process.lost_port():
                raise PortLostError(use, vars(self._ports)[use])
            if self._settings.precision == "auto" and (exacter := process.exacter_precision()):
                raise PrecisionRefusedError(exacter)
            return process.status() or 1
        self._state = "restarting"
        log("starting a new tritonserver on the same ports; calls in flight are lost")
        return None

    def _serves(self, now_s: float, load_s: float) -> None:
        for model in self._models:
            model.adopt(now_s, load_s)
        is_first = self._state == "starting"
        self._state = "ready"
        log(f"all models are ready after {load_s:.1f} s")
        if is_first:
            self._announce()

    def _announce(self) -> None:
        host, admin_host = bracketed(self._settings.host), bracketed(self._settings.admin_host)
        ports = self._ports
        http = f", http {host}:{ports.http}" if ports.http else ""
        say(
            f"asr-server ready: grpc {host}:{ports.grpc}{http}, "
            f"metrics http://{admin_host}:{ports.metrics}/metrics, "
            f"health http://{admin_host}:{ports.health}/readyz\n"
            f"try: {_command()} transcribe FILE "
            f"--url {bracketed(reachable(self._settings.host))}:{ports.grpc}"
            f"{client_flags(self._settings)}{'' if why_no_search(None) else ' --decoder beam'}"
        )

    def _drain(self, process: TritonProcess, run: RunDirectory, ends: Callable[[], str]) -> int:
        """Lets calls of the fronts finish, then direct calls of wav2vec2, then ends Triton."""
        self._state = "draining"
        run.turn_not_ready()
        log(
            f"draining: calls in flight have {self._settings.exit_timeout_s:g} s to finish; "
            "a second signal stops immediately"
        )
        deadline_s = time.monotonic() + self._settings.exit_timeout_s
        waiting = list(self._models)
        while waiting and self._may_wait(ends, deadline_s):
            upstreams = {model.spec.upstream for model in waiting}
            for model in list(waiting):
                if model.spec.name in upstreams:
                    model.step(time.monotonic())
                elif model.drain(time.monotonic()):
                    waiting.remove(model)
            time.sleep(_TICK_S)
        if waiting:
            if why := ends():
                log(f"tritonserver {why}")
            if self._stops < 2:
                log("stopped before all calls had finished; those still in flight are lost")
            else:
                log("stopped by a second signal; calls still in flight are lost")
        process.terminate()
        # A call that a dead instance never answered would delay it by its own exit timeout.
        deadline_s = time.monotonic() + _END_S
        while self._may_wait(ends, deadline_s):
            time.sleep(_TICK_S)
        return 1 if waiting else 0

    def _may_wait(self, ends: Callable[[], str], deadline_s: float) -> bool:
        lost = (State.FAILED, State.STUCK)
        return (
            self._stops < 2
            and not ends()
            and time.monotonic() < deadline_s
            and not any(model.state in lost for model in self._models)
        )


def _living(process: TritonProcess, run: RunDirectory, model: str) -> list[Stub]:
    """The model's living stubs."""
    found = find_stubs(process.psutil, run)
    return [stub for stub in found if stub.model == model and stub.is_alive()]
