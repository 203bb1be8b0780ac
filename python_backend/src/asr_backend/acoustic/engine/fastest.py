"""Finds by measurement which precision is the fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LENGTHS_S = (1, 3, 10, 20)
"""Seconds of audio of the forwards that are timed, the shortest first."""
RUNS = 2
"""Forwards of each length; the faster one counts. The first pays for a length that is new."""
TIE = 1.03
"""A more exact precision wins if it takes no longer than this times the fastest one."""
HOPELESS = 2.0
"""One that has taken longer than this times the fastest one is not timed further."""
BUDGET_S = 4.0
"""Maximum seconds of all forwards together."""


@dataclass(frozen=True, kw_only=True)
class Fastest:
    """The outcome.

    Attributes:
        name: of the candidate to take.
        seconds: of each candidate that was timed to the end, over all `lengths_s`.
        lengths_s: seconds of audio that were timed.
    """

    name: str
    seconds: Mapping[str, float]
    lengths_s: tuple[int, ...]

    def __str__(self) -> str:
        lengths = " + ".join(map(str, self.lengths_s))
        times = ", ".join(f"{name} {value:.2f} s" for name, value in self.seconds.items())
        return f"measured for {lengths} s of audio: {times}"


def find_fastest(
    candidates: Mapping[str, Callable[[int], object]],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Fastest:
    """Time the candidates in turn, by the sum over LENGTHS_S.

    A length is left out, with all longer ones, if timing it would exceed BUDGET_S or only one
    candidate is left. The first is always timed.

    Args:
        candidates: runs a forward of so many seconds of audio, by name; the most exact first.
        clock: seconds.
    """
    totals = dict.fromkeys(candidates, 0.0)
    lengths: list[int] = []
    began, round_s = clock(), 0.0
    for seconds in LENGTHS_S:
        if lengths:
            expected_s = round_s * seconds / lengths[-1]
            if len(totals) == 1 or clock() - began + expected_s > BUDGET_S:
                break
        times: dict[str, list[float]] = {name: [] for name in totals}
        for _ in range(RUNS):
            for name, each in times.items():
                started = clock()
                candidates[name](seconds)
                each.append(clock() - started)
        totals = {name: total + min(times[name]) for name, total in totals.items()}
        limit = HOPELESS * min(totals.values())
        totals = {name: total for name, total in totals.items() if total <= limit}
        lengths.append(seconds)
        # Of those that stay, for they alone are timed next.
        round_s = sum(sum(times[name]) for name in totals)
    limit = TIE * min(totals.values())
    winner = next(name for name, total in totals.items() if total <= limit)
    return Fastest(name=winner, seconds=totals, lengths_s=tuple(lengths))
