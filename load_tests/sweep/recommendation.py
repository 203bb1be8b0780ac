"""Which point of a sweep to run a server at: pure rules over what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from load_tests.sweep.points import Measured, Point
from load_tests.sweep.settings import ServerSetting

KNEE_SHARE = 0.95
"""The knee is the fewest callers with this share of their setting's greatest throughput."""

NEARLY = 0.95
"""A point with this share of the best throughput is worth naming where it needs less memory."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The limits of a recommended point."""

    p95_s: float = 2.0
    """Greatest 95th percentile of the time of a call, seconds."""

    memory_bytes: float | None = None
    """Maximum memory of the server; None is no limit."""

    failure_share: float = 0.001
    """Largest share of failed calls."""

    interim_p95_s: float = 0.5
    """Of live streams: greatest 95th percentile of the time from when the look of an interim is
    due until it is shown, seconds."""

    def broken(self, measured: Measured) -> list[str]:
        """The limits that are exceeded, with the values; empty when there are none."""
        reasons = []
        if measured.p95_s > self.p95_s:
            reasons.append(f"p95 {measured.p95_s:.2f} s, the target is {self.p95_s:g} s")
        if measured.failure_share > self.failure_share:
            reasons.append(
                f"{measured.failure_share:.2%} of calls failed, the target is "
                f"{self.failure_share:.2%}"
            )
        if self.memory_bytes is not None and measured.memory_bytes > self.memory_bytes:
            reasons.append(
                f"{_mib(measured.memory_bytes)} of memory, the limit is {_mib(self.memory_bytes)}"
            )
        return reasons

    def __str__(self) -> str:
        memory = "" if self.memory_bytes is None else f", at most {_mib(self.memory_bytes)}"
        return f"p95 at most {self.p95_s:g} s, at most {self.failure_share:.1%} failed{memory}"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer of a sweep."""

    sentence: str
    """It in plain words."""

    point: Point | None
    """The one with the greatest throughput of those that keep the target; None where none does."""

    thriftier: Point | None = None
    """The point with the lowest memory of those nearly as fast, where it is another setting."""


def recommend(points: Sequence[Point], target: Target) -> Recommendation:
    """Choose the point with the greatest throughput of those that keep the target.

    Of equals the one with less memory is taken, then the one with the lower p95.

    Args:
        points: of one sweep, in any order; those without figures are passed over.
        target: what the point must keep.
    """
    measured = [(point, point.measured) for point in points if point.measured is not None]
    if not measured:
        return Recommendation(sentence="Nothing was measured.", point=None)
    kept = [(point, figures) for point, figures in measured if not target.broken(figures)]
    if not kept:
        return Recommendation(sentence=_none_kept(measured, target), point=None)
    best, figures = max(kept, key=lambda each: _merit(each[1]))
    fast = [each for each in kept if each[1].rtfx >= NEARLY * figures.rtfx]
    thrifty, less = min(fast, key=lambda each: each[1].memory_bytes)
    sentence = (
        f"Run it with {best.setting} and up to {_calls(best.concurrency)} in flight: "
        f"{figures.rtfx:.1f} s of audio a second ({figures.calls_per_s:.1f} calls/s) with p95 "
        f"{figures.p95_s:.2f} s, {figures.failure_share:.1%} failed and "
        f"{_mib(figures.memory_bytes)} of memory, the most of all {len(measured)} points measured "
        f"that keep the target ({target})."
    )
    if thrifty.setting == best.setting:
        return Recommendation(sentence=sentence, point=best)
    sentence += (
        f" Nearly as fast ({less.rtfx:.1f}) with {_mib(less.memory_bytes)}: {thrifty.setting}, "
        f"{_calls(thrifty.concurrency)} in flight."
    )
    return Recommendation(sentence=sentence, point=best, thriftier=thrifty)


def knees(points: Sequence[Point]) -> dict[ServerSetting, Point]:
    """For each setting the fewest callers that give KNEE_SHARE of its greatest throughput.

    Beyond it more callers only wait.
    """
    found: dict[ServerSetting, Point] = {}
    greatest: dict[ServerSetting, float] = {}
    for point in points:
        if point.measured is not None:
            highest = max(greatest.get(point.setting, 0.0), point.measured.rtfx)
            greatest[point.setting] = highest
    for point in sorted(points, key=lambda point: point.concurrency):
        if point.measured is None or point.setting in found:
            continue
        if point.measured.rtfx >= KNEE_SHARE * greatest[point.setting]:
            found[point.setting] = point
    return found


def _merit(figures: Measured) -> tuple[float, float, float]:
    return figures.rtfx, -figures.memory_bytes, -figures.p95_s


def _none_kept(measured: Sequence[tuple[Point, Measured]], target: Target) -> str:
    nearest, figures = min(measured, key=lambda each: each[1].p95_s)
    return (
        f"No point keeps the target ({target}). The lowest p95 was {figures.p95_s:.2f} s, with "
        f"{nearest.setting} and {_calls(nearest.concurrency)} in flight: "
        f"{'; '.join(target.broken(figures))}."
    )


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"


def _mib(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"
