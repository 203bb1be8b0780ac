"""Simulated time: events, and processors that several jobs share."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

Then = Callable[[], None]


class Clock:
    """Runs events in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._order = itertools.count()
        self._shared: list[Processors] = []

    def at(self, time: float, then: Then) -> None:
        """Call `then` at a time that is not past."""
        heapq.heappush(self._events, (time, next(self._order), then))

    def processors(self, count: float) -> Processors:
        """So many processors, whose time passes with this clock."""
        made = Processors(self, count)
        self._shared.append(made)
        return made

    def run(self, until: float) -> None:
        """Let time pass until no event is left, or until this time."""
        while True:
            first = min(self._shared, key=lambda each: each.next_end(), default=None)
            job_ends = first.next_end() if first else math.inf
            event = self._events[0][0] if self._events else math.inf
            if min(job_ends, event) > until:
                return
            self.now = min(job_ends, event)
            if first is not None and job_ends <= event:
                first.end_one()
            else:
                heapq.heappop(self._events)[2]()


class Processors:
    """Processors shared evenly: where jobs need more than there are, all slow down equally.

    A common virtual time runs at the speed that every job has just now, so each job's end is fixed
    in it from the start, and only the next end has to be turned into real time.
    """

    def __init__(self, clock: Clock, count: float) -> None:
        self._clock = clock
        self._count = count
        self._wanted = 0.0
        self._virtual = 0.0
        self._since = 0.0
        self._jobs: list[tuple[float, int, float, Then]] = []
        self._order = itertools.count()
        self.busy_s = 0.0
        """Processor seconds spent."""

    def do(self, work_s: float, then: Then, *, width: float = 1.0) -> None:
        """Start a job.

        Args:
            work_s: processor seconds that it needs.
            then: what happens at its end.
            width: processors that it uses when no other job needs them.
        """
        self._pass_time()
        end = self._virtual + work_s / width
        heapq.heappush(self._jobs, (end, next(self._order), width, then))
        self._wanted += width

    def next_end(self) -> float:
        """When the next job ends if none comes; infinite without jobs."""
        if not self._jobs:
            return math.inf
        return self._since + max(0.0, self._jobs[0][0] - self._virtual) / self._speed()

    def end_one(self) -> None:
        """End the job whose time has come."""
        self._pass_time()
        _, _, width, then = heapq.heappop(self._jobs)
        self._wanted = self._wanted - width if self._jobs else 0.0
        then()

    def _speed(self) -> float:
        return min(1.0, self._count / self._wanted) if self._wanted else 1.0

    def _pass_time(self) -> None:
        passed, self._since = self._clock.now - self._since, self._clock.now
        self._virtual += passed * self._speed()
        self.busy_s += passed * min(self._wanted, self._count)
