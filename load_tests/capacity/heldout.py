"""The error of the model: points of a sweep predicted from its other points."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from load_tests.capacity.scenario import Load, Outcome
from load_tests.capacity.service import Service, machine_of, read_service
from load_tests.capacity.simulation import simulate
from load_tests.sweep.points import Measured, Point
from load_tests.sweep.store import Sweep

SIMULATED_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A point that the model has not seen."""

    point: Point
    measured: Measured
    rtfx: float
    p95_s: float

    @property
    def rtfx_error(self) -> float:
        """Predicted over measured throughput, less 1."""
        return self.rtfx / self.measured.rtfx - 1

    @property
    def p95_error(self) -> float:
        """Predicted over measured p95, less 1."""
        return self.p95_s / self.measured.p95_s - 1


def calibrate(
    points: Sequence[Point],
    conditions: Mapping[str, Any],
    lengths_s: Sequence[float],
    *,
    seconds: float = SIMULATED_S,
) -> Service:
    """The costs of the points, and how much longer than their processor time they take.

    No counter shows the time to wake a process, the wait of one thread for another, or a cold
    cache. Because of them the model predicts more than was measured, by about the same factor
    everywhere. `stretch` is the median of that factor over the points.

    Args:
        points: of one sweep, measured on a CPU.
        conditions: of the sweep.
        lengths_s: of the clips it was measured with.
        seconds: simulated for each point.

    Raises:
        ValueError: no point on a CPU has figures.
    """
    service = read_service(points, conditions["machine"]["cores"])
    promised = [
        _simulate(point, service, conditions, lengths_s, seconds).rtfx / measured.rtfx
        for point, measured in _on_cpu(points)
    ]
    return replace(service, stretch=statistics.median(promised))


def leave_out(
    sweep: Sweep,
    lengths_s: Sequence[float],
    group: Callable[[Point], object],
    *,
    seconds: float = SIMULATED_S,
) -> list[Prediction]:
    """Predict every point from those that are not of its group.

    Args:
        sweep: its points on a CPU are taken.
        lengths_s: of the clips it was measured with.
        group: what is left out together: `lambda point: point.concurrency` leaves out all points
            with as many callers.
        seconds: simulated for each.
    """
    on_cpu = _on_cpu(sweep.points)
    predictions = []
    for left_out in {group(point): None for point, _ in on_cpu}:
        others = [point for point, _ in on_cpu if group(point) != left_out]
        service = calibrate(others, sweep.conditions, lengths_s, seconds=seconds)
        for point, measured in on_cpu:
            if group(point) == left_out:
                outcome = _simulate(point, service, sweep.conditions, lengths_s, seconds)
                predictions.append(
                    Prediction(
                        point=point,
                        measured=measured,
                        rtfx=outcome.rtfx,
                        p95_s=outcome.percentile_s(0.95),
                    )
                )
    return predictions


def typical(errors: Sequence[float]) -> float:
    """The median of the errors' sizes."""
    return statistics.median(abs(error) for error in errors)


def _simulate(
    point: Point,
    service: Service,
    conditions: Mapping[str, Any],
    lengths_s: Sequence[float],
    seconds: float,
) -> Outcome:
    load = Load(lengths_s=lengths_s, callers=point.concurrency)
    return simulate(machine_of(point, conditions), service, load, seconds=seconds)


def _on_cpu(points: Sequence[Point]) -> list[tuple[Point, Measured]]:
    return [
        (point, point.measured)
        for point in points
        if point.measured is not None and point.setting.device == "cpu"
    ]
