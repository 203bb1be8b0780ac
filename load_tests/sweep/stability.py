"""When a measurement has settled: slices of one point, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StabilityRule:
    """The last `slices` slices' throughput lies within `tolerance` of their mean.

    Earlier slices are then dropped: the server had not reached its speed yet. Where the slices do
    not agree within `max_slices`, the last ones count and the point is marked unstable.
    """

    slice_s: float = 5.0
    """Length of one slice, seconds."""

    slices: int = 3
    """Slices that must agree, 1 or more."""

    max_slices: int = 5
    """Maximum number of slices."""

    tolerance: float = 0.05
    """Greatest distance from their mean, as a share of it."""

    def is_stable(self, throughputs: Sequence[float]) -> bool:
        """Whether the last slices agree; never without that many, or without throughput."""
        last = throughputs[-self.slices :]
        mean = sum(last) / len(last) if last else 0.0
        if len(last) < self.slices or mean <= 0:
            return False
        return max(abs(value - mean) for value in last) <= self.tolerance * mean

    def __str__(self) -> str:
        return (
            f"slices of {self.slice_s:g} s until the throughput of the last {self.slices} lies "
            f"within {self.tolerance:.0%} of their mean, at most {self.max_slices} slices"
        )
