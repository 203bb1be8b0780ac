"""The server's side of a run: its metrics page and its processes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from load_tests.report.metrics_page import MetricsPage
from tools.processes import cpu_s, memory_bytes, repeated

SAMPLE_S = 1.0
"""Time between two looks during a run."""


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """One model's work, from Triton's counters."""

    requests: int
    """Requests that it answered, refused ones not among them."""

    executions: int
    """Batches that it received."""

    mean_batch: float
    """Requests over executions; 0 without any."""

    queue_s: float
    """Mean time of a request in Triton's queue, seconds."""

    compute_s: float
    """Mean time of a request in the model, seconds."""


@dataclass(frozen=True, kw_only=True)
class ServerFigures:
    """The differences of two metrics pages, and the samples between them."""

    transcribe: ModelFigures
    """A request is a file."""

    wav2vec2: ModelFigures
    """A request is a window."""

    forward_windows: Mapping[float, int]
    """Forwards by the number of windows in them, under the upper bound of the bucket."""

    forwards: int
    """Forwards of the network; a batch may need several."""

    mean_forward_windows: float
    """Windows over forwards; 0 without any."""

    padding_waste: float
    """The share of the computed seconds that was padding, 0 to 1."""

    audio_s: float
    """Seconds of audio that went through the network, overlaps of windows counted twice."""

    cancelled: int
    """Requests dropped because their caller had gone."""

    errors: Mapping[str, int]
    """Requests that ended with an error of the service, by its code."""

    max_queue: int
    """Maximum number of files seen in `transcribe`'s queue."""

    max_windows_in_flight: int
    """Maximum number of windows seen that the network had not answered yet."""

    cpu_s: float | None
    """CPU seconds of the server's processes; None when they are not on this machine."""

    memory_bytes: int | None
    """Maximum memory of all of them together; shared pages count once (PSS)."""

    memory_growth_bytes: int | None
    """Memory at the end minus memory at the start."""

    gpu_utilization: float | None
    """Mean of the looks, 0 to 1, over all GPUs; None where Triton reports none."""

    gpu_memory_bytes: int | None
    """Maximum memory in use on all GPUs together."""


@dataclass
class _Looks:
    """Samples of states, which two metrics pages do not show."""

    queue: list[float] = field(default_factory=list)
    windows: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    gpu: list[float] = field(default_factory=list)
    gpu_memory: list[float] = field(default_factory=list)

    def add(self, page: MetricsPage, pid: int | None) -> None:
        self.queue.append(page.value("nv_inference_pending_request_count", model="transcribe"))
        self.windows.append(page.value("asr_windows_in_flight"))
        if gpus := page.by_label("nv_gpu_utilization", "gpu_uuid"):
            self.gpu.append(sum(gpus.values()) / len(gpus))
            self.gpu_memory.append(page.value("nv_gpu_memory_used_bytes"))
        if pid is not None:
            self.memory.append(memory_bytes(pid))


class Watch:
    """Looks at a server from `start` to `stop`, from another thread.

    Args:
        metrics_url: of the metrics page.
        server_pid: process id of asr-server when it runs on this machine.

    Raises:
        OSError: no server answers there, or there is no such process.
    """

    def __init__(self, metrics_url: str, server_pid: int | None = None) -> None:
        self._url = metrics_url
        self._pid = server_pid
        self._looks = _Looks()
        self._watching = contextlib.ExitStack()
        self._before = self._scrape()
        self._cpu_before_s = 0.0

    def start(self) -> Watch:
        """Begin: earlier counts are left out."""
        self._before = self._scrape()
        self._cpu_before_s = cpu_s(self._pid) if self._pid else 0.0
        self._looks.add(self._before, self._pid)
        self._watching.enter_context(repeated(self._look, SAMPLE_S))
        return self

    def stop(self) -> ServerFigures:
        """End, and return what was seen.

        Raises:
            OSError: the server does not answer any more, or its process is gone.
        """
        self._watching.close()
        after = self._scrape()
        self._looks.add(after, self._pid)
        used_s = cpu_s(self._pid) - self._cpu_before_s if self._pid else None
        return _figures(after - self._before, self._looks, used_s)

    def _scrape(self) -> MetricsPage:
        if self._pid is not None and not psutil.pid_exists(self._pid):
            raise ProcessLookupError(f"there is no process {self._pid}")
        return MetricsPage.scrape(self._url)

    def _look(self) -> None:
        # A busy or dying server may miss a look; one that is gone fails in `stop`.
        with contextlib.suppress(OSError):
            self._looks.add(MetricsPage.scrape(self._url), self._pid)


def _figures(counted: MetricsPage, looks: _Looks, cpu_s: float | None) -> ServerFigures:
    value = counted.value
    audio_s, computed_s = value("asr_audio_seconds_total"), value("asr_padded_seconds_total")
    forwards = value("asr_forward_windows_count")
    errors = counted.by_label("asr_errors_total", "code")
    return ServerFigures(
        transcribe=_model(counted, "transcribe"),
        wav2vec2=_model(counted, "wav2vec2"),
        forward_windows=counted.buckets("asr_forward_windows"),
        forwards=round(forwards),
        mean_forward_windows=_ratio(value("asr_forward_windows_sum"), forwards),
        padding_waste=_ratio(computed_s - audio_s, computed_s),
        audio_s=audio_s,
        cancelled=round(value("asr_cancelled_total")),
        errors={code: round(count) for code, count in errors.items() if count},
        max_queue=round(max(looks.queue)),
        max_windows_in_flight=round(max(looks.windows)),
        cpu_s=cpu_s,
        memory_bytes=max(looks.memory, default=None),
        memory_growth_bytes=looks.memory[-1] - looks.memory[0] if looks.memory else None,
        gpu_utilization=_ratio(sum(looks.gpu), len(looks.gpu)) if looks.gpu else None,
        gpu_memory_bytes=round(max(looks.gpu_memory)) if looks.gpu_memory else None,
    )


def _model(counted: MetricsPage, model: str) -> ModelFigures:
    requests = counted.value("nv_inference_request_success", model=model)
    executions = counted.value("nv_inference_exec_count", model=model)
    inferences = counted.value("nv_inference_count", model=model)
    queue_us = counted.value("nv_inference_queue_duration_us", model=model)
    compute_us = counted.value("nv_inference_compute_infer_duration_us", model=model)
    return ModelFigures(
        requests=round(requests),
        executions=round(executions),
        mean_batch=_ratio(inferences, executions),
        queue_s=_ratio(queue_us, requests) / 1e6,
        compute_s=_ratio(compute_us, requests) / 1e6,
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
