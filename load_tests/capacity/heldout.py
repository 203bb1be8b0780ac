"""How far the model is off: points of a sweep predicted from its other points."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from load_tests.capacity.scenario import Load
from load_tests.capacity.service import machine_of, read_service
from load_tests.capacity.simulation import simulate
from load_tests.sweep.points import Point
from load_tests.sweep.store import Sweep

SIMULATED_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A point that the model has not seen."""

    point: Point
    rtfx: float
    p95_s: float

    @property
    def rtfx_error(self) -> float:
        """Predicted over measured throughput, less 1."""
        assert self.point.measured is not None
        return self.rtfx / self.point.measured.rtfx - 1

    @property
    def p95_error(self) -> float:
        """Predicted over measured p95, less 1."""
        assert self.point.measured is not None
        return self.p95_s / self.point.measured.p95_s - 1


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
        group: what is left out together: `lambda point: point.key` leaves out one at a time.
        seconds: simulated for each.
    """
    measured = [
        point
        for point in sweep.points
        if point.measured is not None and point.setting.device == "cpu"
    ]
    cores = sweep.conditions["machine"]["cores"]
    predictions = []
    for point in measured:
        others = [each for each in measured if group(each) != group(point)]
        outcome = simulate(
            machine_of(point, sweep.conditions),
            read_service(others, cores),
            Load(lengths_s=lengths_s, callers=point.concurrency),
            seconds=seconds,
        )
        predictions.append(
            Prediction(point=point, rtfx=outcome.rtfx, p95_s=outcome.percentile_s(0.95))
        )
    return predictions


def typical(errors: Sequence[float]) -> float:
    """The median of the errors' sizes."""
    return statistics.median(abs(error) for error in errors)
