"""The costs of a call and of a forward, derived from the points of a sweep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from load_tests.capacity.scenario import Machine
from load_tests.sweep.points import Point
from load_tests.sweep.settings import ServerSetting

FREE_CORES = 0.85
"""A machine less busy than this has a free core."""

SECOND_THREAD = 0.5
"""`second_thread` where no point shows it: assumed, half way between none and all of a core."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Processor seconds of a core of the sweep's machine."""

    forward_s: float
    """Of one forward, whatever is in it."""

    padded_s: float
    """Of a second of audio in a forward, padding counted."""

    second_thread: float
    """Cores that each thread of a forward beyond the first keeps busy, 0 to 1."""

    front_s: float
    """Of a front for a window: decoding, handing it over, reading the text."""

    triton_s: float
    """Of tritonserver for a call."""

    caller_s: float
    """Of the callers for a call, where they are on the same machine."""

    stretch: float = 1.0
    """How much longer all of it takes than its processor time says; see `calibrate`."""

    max_forward_windows: int | None = None
    """Maximum windows that a forward on the CPU takes; None for no such bound."""

    before_share: float = 0.5
    """The share of `front_s` before the network's turn: assumed; it matters little."""

    def width(self, threads: int) -> float:
        """Cores that a forward of so many threads keeps busy when no other process needs them."""
        return 1.0 + (threads - 1) * self.second_thread


def read_service(points: Sequence[Point], cores: int) -> Service:
    """Derive the costs from points with figures.

    The two costs of a forward are the least squares of the processor time of `wav2vec2` over
    forwards and padded seconds, with no cost below 0. An engine that takes one window a forward has
    forwards of one mean length at every point; the two cannot be separated then, and the whole cost
    is put on the seconds. `second_thread` comes from points whose forwards had a second thread and
    free cores to run it on; without such points it is SECOND_THREAD. All others are means.

    Args:
        points: of one sweep; forwards on GPUs do not count among the costs of cores.
        cores: of its machine.

    Raises:
        ValueError: no point on a CPU has figures.
    """
    measured = [
        (point, point.measured.costs)
        for point in points
        if point.measured is not None and point.setting.device == "cpu"
    ]
    if not measured:
        raise ValueError("no point on a CPU has figures")
    costs = [cost for _, cost in measured]
    single = all(cost.windows == cost.forwards for cost in costs)
    forward_s, padded_s = _line(
        np.array([cost.padded_s / cost.forwards for cost in costs]),
        np.array([cost.cpu_s["wav2vec2"] / cost.forwards for cost in costs]),
        through_0=single,
    )
    second = [
        (cost.cpu_s["wav2vec2"] / cost.forward_s - 1) / (threads - 1)
        for point, cost in measured
        if sum(cost.cpu_s.values()) < FREE_CORES * cores * cost.seconds
        and (threads := threads_of(point.setting, cores)) > 1
    ]
    calls, windows = sum(cost.calls for cost in costs), sum(cost.windows for cost in costs)
    return Service(
        forward_s=forward_s,
        padded_s=padded_s,
        second_thread=min(1.0, max(0.0, statistics.fmean(second))) if second else SECOND_THREAD,
        front_s=sum(cost.cpu_s["transcribe"] for cost in costs) / windows,
        triton_s=sum(cost.cpu_s["triton"] for cost in costs) / calls,
        caller_s=sum(cost.cpu_s["callers"] for cost in costs) / calls,
        max_forward_windows=1 if single else None,
    )


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The speed of one GPU."""

    forward_s: float = 0.01
    """GPU seconds of one forward, whatever is in it."""

    rtfx: float = 2000.0
    """Seconds of audio that it computes in a second, padding counted."""


def read_gpu(points: Sequence[Point]) -> Gpu | None:
    """Derive the speed of a GPU from a sweep's points on GPUs; None without such points.

    Points with one instance are taken, whose forwards have the GPU for themselves.
    """
    costs = [
        point.measured.costs
        for point in points
        if point.measured is not None
        and point.setting.device == "gpu"
        and point.setting.instances == 1
    ]
    if not costs:
        return None
    forward_s, padded_s = _line(
        np.array([cost.padded_s / cost.forwards for cost in costs]),
        np.array([cost.forward_s / cost.forwards for cost in costs]),
    )
    return Gpu(forward_s=forward_s, rtfx=1 / padded_s if padded_s else float("inf"))


def threads_of(setting: ServerSetting, cores: int) -> int:
    """Threads of an instance, with the server's rule for 0."""
    return setting.threads or max(1, cores // setting.instances)


def machine_of(point: Point, conditions: Mapping[str, Any]) -> Machine:
    """The machine of a sweep as a point had it: without the cores that others kept busy."""
    setting, cores = point.setting, conditions["machine"]["cores"]
    assert point.measured is not None
    costs = point.measured.costs
    return Machine(
        cores=max(0.1, cores - costs.cpu_s["others"] / costs.seconds),
        fronts=conditions["fronts"],
        instances=setting.instances,
        threads=threads_of(setting, cores),
        max_batch_size=setting.max_batch_size,
        max_queue_delay_us=setting.max_queue_delay_us,
    )


def _line(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], *, through_0: bool = False
) -> tuple[float, float]:
    """Least squares of y = a + b x with a, b >= 0, and a = 0 on demand; relative errors counted."""
    candidates = []
    for columns in ((1,),) if through_0 else ((0, 1), (0,), (1,)):
        terms = np.stack([1 / y, x / y], axis=1)[:, columns]
        found, *_ = np.linalg.lstsq(terms, np.ones_like(y), rcond=None)
        if (found >= 0).all():
            line = np.zeros(2)
            line[list(columns)] = found
            error = float(((line[0] + line[1] * x - y) / y).__pow__(2).sum())
            candidates.append((error, float(line[0]), float(line[1])))
    _, a, b = min(candidates)
    return a, b
