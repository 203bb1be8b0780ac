"""Gates: limits of a run's figures, such as `p95<2s,failures<0.1%,wer<0.2,rtfx>5`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from load_tests.report.report_numbers import Figures

DEFAULT_SLO = "failures<1%,p95<5s,changed<5%"
"""Loose: what a machine of two cores keeps with a scenario's own load."""

_Read = Callable[[Figures], "float | None"]


@dataclass(frozen=True, kw_only=True)
class _Metric:
    read: _Read
    unit: str = ""
    """What the figure is in: s, % (a share of 1), B, or nothing."""


def _share(part: Callable[[Figures], int | None]) -> _Read:
    def read(figures: Figures) -> float | None:
        count = part(figures)
        return None if count is None else count / figures.requests

    return read


METRICS: Mapping[str, _Metric] = {
    "p50": _Metric(read=lambda f: f.latency_p50_s, unit="s"),
    "p90": _Metric(read=lambda f: f.latency_p90_s, unit="s"),
    "p95": _Metric(read=lambda f: f.latency_p95_s, unit="s"),
    "p99": _Metric(read=lambda f: f.latency_p99_s, unit="s"),
    "mean": _Metric(read=lambda f: f.latency_mean_s, unit="s"),
    "failures": _Metric(read=_share(lambda f: f.failed), unit="%"),
    "wer": _Metric(read=lambda f: f.word_error_rate, unit="%"),
    "changed": _Metric(read=_share(lambda f: f.transcripts_changed), unit="%"),
    "rtfx": _Metric(read=lambda f: f.rtfx),
    "rps": _Metric(read=lambda f: f.throughput_rps),
    "achieved": _Metric(
        read=lambda f: f.throughput_rps / f.offered_rps if f.offered_rps else None, unit="%"
    ),
    "batch": _Metric(read=lambda f: f.server.wav2vec2.mean_batch if f.server else None),
    "padding": _Metric(read=lambda f: f.server.padding_waste if f.server else None, unit="%"),
    "rejected": _Metric(read=lambda f: f.rejected),
    "interim": _Metric(read=lambda f: f.live.interim_p95_s if f.live else None, unit="s"),
    "final": _Metric(read=lambda f: f.live.final_p95_s if f.live else None, unit="s"),
    "flicker": _Metric(read=lambda f: f.live.flicker if f.live else None, unit="%"),
    "memory": _Metric(read=lambda f: f.server.memory_bytes if f.server else None, unit="B"),
    "growth": _Metric(read=lambda f: f.server.memory_growth_bytes if f.server else None, unit="B"),
}
"""What a gate can limit. `achieved` is throughput over the offered rate of an open loop; `batch`
is the mean batch of wav2vec2; `growth` is that of the memory from start to end; `interim` and
`final` are 95th percentiles of live streams."""

_UNITS: Mapping[str, Mapping[str, float]] = {
    "": {"": 1},
    "s": {"s": 1, "ms": 1e-3},
    "%": {"": 1, "%": 0.01},
    "B": {"MB": 1e6, "GB": 1e9},
}
_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_GATE = re.compile(
    r"(?P<name>[a-z0-9]+)(?P<sign>[<>]=?)(?P<value>\d+(?:\.\d+)?)(?P<unit>[a-zA-Z%]*)"
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One limit."""

    name: str
    """A key of `METRICS`."""

    sign: str
    """<, <=, > or >=: between the figure and the limit."""

    limit: float
    """In the metric's own unit."""

    def broken(self, figures: Figures) -> str | None:
        """The measured value and its distance from the limit; None when the limit is kept."""
        value = METRICS[self.name].read(figures)
        limit = f"{self.sign} {self._written(self.limit)}"
        if value is None:
            return f"{self.name}: not measured, the limit is {limit}"
        if _OPERATORS[self.sign](value, self.limit):
            return None
        off = self._written(abs(value - self.limit))
        way = "over" if self.sign.startswith("<") else "under"
        return f"{self.name}: {self._written(value)}, {off} {way} the limit of {limit}"

    def _written(self, value: float) -> str:
        unit = METRICS[self.name].unit
        if unit == "%":
            return f"{100 * value:.4g} %"
        if unit == "B":
            return f"{value / 1e9:.4g} GB"
        return f"{value:.4g} {unit}".rstrip()


def parse_slo(text: str) -> tuple[Gate, ...]:
    """Read gates joined by commas; shares are written as 0.001 or 0.1%.

    Raises:
        ValueError: one of them is not `METRIC<NUMBER[UNIT]`; the message says what is possible.
    """
    gates = []
    for part in filter(None, text.replace(" ", "").split(",")):
        match = _GATE.fullmatch(part)
        if match is None or match["name"] not in METRICS:
            raise ValueError(
                f"{part!r} is no gate: a gate is METRIC, one of < <= > >=, and a number, METRIC "
                f"one of {' '.join(METRICS)}"
            )
        units = _UNITS[METRICS[match["name"]].unit]
        if match["unit"] not in units:
            written = " or ".join(unit or "no unit" for unit in units)
            raise ValueError(f"{part!r} has the unit {match['unit'] or 'none'}, not {written}")
        limit = float(match["value"]) * units[match["unit"]]
        gates.append(Gate(name=match["name"], sign=match["sign"], limit=limit))
    return tuple(gates)


def broken(gates: tuple[Gate, ...], figures: Figures) -> list[str]:
    """Say of each gate that is not kept what was measured; empty when all are.

    A run without a single call breaks its gates.
    """
    if figures.requests == 0:
        return ["requests: none was made"]
    return [reason for gate in gates if (reason := gate.broken(figures)) is not None]
