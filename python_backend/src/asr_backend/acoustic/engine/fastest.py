"""Finds by measurement which precision is the fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LENGTHS_S = (1, 3, 10, 20)
"""Seconds of audio of the forwards that are timed, the shortest first."""
RUNS = 2
"""Forwards of each length; the fastest counts. The first pays for a length that is new."""
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

    A round, a forward of each candidate, begins only if it is expected to end within BUDGET_S. So
    on a slow machine the longest lengths are left out, and one may be timed once only. Timing also
    ends when one candidate is left.

    Args:
        candidates: runs a forward of so many seconds of audio, by name; the most exact first.
        clock: seconds.
    """
    began = clock()
    totals = dict.fromkeys(candidates, 0.0)
    lengths: list[int] = []
    # Of a second of audio, in the last round.
    cost = dict.fromkeys(candidates, 0.0)
    for seconds in LENGTHS_S:
        best: dict[str, float] = {}
        for _ in range(RUNS):
            expected_s = seconds * sum(cost[name] for name in totals)
            is_first = not lengths and not best
            if not is_first and (len(totals) == 1 or clock() - began + expected_s > BUDGET_S):
                break
            for name in totals:
                started = clock()
                candidates[name](seconds)
                took_s = clock() - started
                cost[name] = took_s / seconds
                best[name] = min(took_s, best.get(name, took_s))
            limit = HOPELESS * min(totals[name] + best[name] for name in totals)
            totals = {name: total for name, total in totals.items() if total + best[name] <= limit}
        if not best:
            break
        totals = {name: total + best[name] for name, total in totals.items()}
        lengths.append(seconds)
    limit = TIE * min(totals.values())
    winner = next(name for name, total in totals.items() if total <= limit)
    return Fastest(name=winner, seconds=totals, lengths_s=tuple(lengths))
