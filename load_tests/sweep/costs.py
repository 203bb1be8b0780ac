"""The cost of a load: processor time by kind of process, forwards of the network."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from load_tests.report.metrics_page import MetricsPage
from tools.local_server import role
from tools.processes import tree

KINDS = ("wav2vec2", "transcribe", "triton", "callers", "others")
"""The network, the fronts (those of live audio, too), the server itself with its supervisor, the
callers, and other processes on the same cores at ordinary priority: where those use much time, the
figures are too low."""

_Ticks = Mapping[tuple[int, float, str], float]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Sums over a time, warm-ups included: what belongs together was counted together."""

    seconds: float
    """How long that was."""

    calls: float
    """Files that `transcribe` answered."""

    windows: float
    """Windows that went through the network."""

    forwards: float
    """Forwards of the network."""

    forward_s: float
    """Time in forwards, of all instances together."""

    audio_s: float
    """Seconds of audio in forwards."""

    padded_s: float
    """The same with padding."""

    cpu_s: Mapping[str, float]
    """Processor seconds by `KINDS`."""

    def __add__(self, other: Costs) -> Costs:
        sums: dict[str, Any] = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
            if field.name != "cpu_s"
        }
        cpu_s = {kind: self.cpu_s.get(kind, 0.0) + other.cpu_s.get(kind, 0.0) for kind in KINDS}
        return Costs(**sums, cpu_s=cpu_s)


class CostMeter:
    """Counts from when it is made.

    Args:
        metrics_url: of the server's metrics page.
        server_pid: process id of asr-server, on this machine.

    Raises:
        OSError: no server answers there.
    """

    def __init__(self, metrics_url: str, server_pid: int) -> None:
        self._url = metrics_url
        self._pid = server_pid
        self._began = time.perf_counter()
        self._page = MetricsPage.scrape(metrics_url)
        self._ticks = self._processor_seconds()
        self._machine_s = _machine_s()

    def read(self) -> Costs:
        """What was spent since.

        Raises:
            OSError: the server does not answer any more.
        """
        seconds = time.perf_counter() - self._began
        counted = (MetricsPage.scrape(self._url) - self._page).value
        cpu_s = dict.fromkeys(KINDS, 0.0)
        for key, ticks in self._processor_seconds().items():
            cpu_s[key[2]] += ticks - self._ticks.get(key, 0.0)
        cpu_s["others"] = max(0.0, _machine_s() - self._machine_s - sum(cpu_s.values()))
        return Costs(
            seconds=seconds,
            calls=counted("nv_inference_request_success", model="transcribe"),
            windows=counted("asr_forward_windows_sum"),
            forwards=counted("asr_forward_windows_count"),
            forward_s=counted("asr_stage_seconds_sum", stage="forward"),
            audio_s=counted("asr_audio_seconds_total"),
            padded_s=counted("asr_padded_seconds_total"),
            cpu_s=cpu_s,
        )

    def _processor_seconds(self) -> _Ticks:
        """By process, its start and its kind; a process that is replaced is another one."""
        found = {}
        callers = psutil.Process(os.getpid())
        for process in (*tree(self._pid), callers):
            with contextlib.suppress(psutil.NoSuchProcess):
                kind = "callers" if process == callers else _kind(process.cmdline())
                times = process.cpu_times()
                found[process.pid, process.create_time(), kind] = times.user + times.system
        return found


def _machine_s() -> float:
    """Time that this process's cores have worked at ordinary priority."""
    cores = psutil.cpu_times(percpu=True)
    own = [cores[index] for index in os.sched_getaffinity(0)]
    return float(sum(each.user + each.system + each.irq + each.softirq for each in own))


def _kind(command_line: list[str]) -> str:
    """The fronts of live audio count with the others."""
    found = role(command_line).removesuffix("_stream")
    return found if found in KINDS else "triton"
