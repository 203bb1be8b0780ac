"""The scenarios as data: who calls, and how many of them when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run with one number of callers."""

    time: float
    """Its share of the run's time, 0 to 1."""

    load: float
    """Its share of the run's callers, or of its rate in an open loop, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Stages one after the other, and what is sent in them."""

    about: str
    """One line."""

    callers: Mapping[str, float]
    """Shares of the callers, or of the calls of an open loop, by a key of `SENDS`."""

    clips: int = 16
    """Different clips of each kind."""

    stages: tuple[Stage, ...] = (Stage(time=1, load=1),)

    bad: float = 0.0
    """The share of calls, 0 to 1, that carry a bad input."""

    users: int = 8
    """Default number of callers."""

    duration_s: float = 60.0
    """Default length."""

    to_knee: bool = False
    """Ends when more callers give no more throughput."""

    @property
    def mix(self) -> Mapping[str, int]:
        """Number of different clips by kind."""
        return {kind: self.clips for caller in self.callers for kind in SENDS[caller]}


def _steps(*loads: float) -> tuple[Stage, ...]:
    return tuple(Stage(time=1 / len(loads), load=load) for load in loads)


SENDS: Mapping[str, tuple[str, ...]] = {
    "short": ("commands", "sentences"),
    "commands": ("commands",),
    "meetings": ("meetings",),
    "seconds": ("seconds",),
    "talks": ("talks",),
}
"""The kinds of clips that a caller sends, each as often as the others."""

_SHORT = {"short": 1.0}

SCENARIOS: Mapping[str, Scenario] = {
    "steady": Scenario(about="a constant number of callers", callers=_SHORT),
    "ramp": Scenario(
        about="more and more callers, until they give no more throughput",
        callers=_SHORT,
        stages=_steps(1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1),
        users=32,
        duration_s=180,
        to_knee=True,
    ),
    "spike": Scenario(
        about="eight times as many callers for a fifth of the time",
        callers=_SHORT,
        stages=(Stage(time=0.4, load=1 / 8), Stage(time=0.2, load=1), Stage(time=0.4, load=1 / 8)),
        users=32,
    ),
    "soak": Scenario(
        about="a few callers for a long time; its four parts should have equal figures",
        callers=_SHORT,
        stages=_steps(1, 1, 1, 1),
        users=4,
        duration_s=3600,
    ),
    "mixed": Scenario(
        about="short commands beside callers with long recordings",
        callers={"commands": 0.75, "meetings": 0.25},
        clips=8,
    ),
    "longform": Scenario(about="long recordings only", callers={"meetings": 1}, clips=8, users=4),
    "abusive": Scenario(
        about="every fourth call has a bad input, which must be refused as the contract says",
        callers=_SHORT,
        bad=0.25,
    ),
    "live": Scenario(
        about="live streams in real time, one after the other for each caller",
        callers={"talks": 1},
        clips=8,
        users=4,
    ),
    "live-files": Scenario(
        about="live streams beside callers with short files",
        callers={"talks": 0.75, "short": 0.25},
        clips=8,
    ),
    "seconds": Scenario(
        about="one second of PCM a call, to measure the generator itself",
        callers={"seconds": 1},
        users=16,
        duration_s=10,
    ),
}


def stage_at(scenario: Scenario, elapsed_s: float, duration_s: float) -> int:
    """The index of the stage at a time since the start; the number of stages when all are over."""
    end_s = 0.0
    for index, stage in enumerate(scenario.stages):
        end_s += stage.time * duration_s
        # The shares of nine equal parts add up to a little less than one.
        if elapsed_s < end_s - 1e-9:
            return index
    return len(scenario.stages)


def knee(throughputs: list[float], *, gain: float = 0.05, patience: int = 2) -> int | None:
    """The first stage of a growing load that comes within `gain` of the best throughput.

    None while the load may still bring more: until `patience` later stages were not better than
    the best before them by more than `gain`.
    """
    best, since = 0.0, 0
    for throughput in throughputs:
        if throughput > best * (1 + gain):
            best, since = throughput, 0
        else:
            since += 1
        if since >= patience:
            top = max(throughputs)
            return next(i for i, t in enumerate(throughputs) if t >= top * (1 - gain))
    return None
