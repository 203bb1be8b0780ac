"""When the calls of an open loop begin: schedules that do not wait for answers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load_tests.run.scenarios import Scenario

FORMS = "constant:RATE, poisson:RATE or trace:FILE"


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """A kind of schedule; the same arguments make the same times in every process."""

    kind: str
    """constant, poisson or trace."""

    rate_rps: float = 0.0
    """Calls per second at full load; a stage of a scenario has its share of it."""

    times_s: tuple[float, ...] = ()
    """Of a trace: seconds from the start, rising."""

    @classmethod
    def parse(cls, text: str) -> Arrivals:
        """Read `constant:RATE`, `poisson:RATE` (calls a second) or `trace:FILE`.

        A trace has one time in a line, seconds from the start, none before the one above it.

        Raises:
            ValueError: it is none of them, or the trace's times are not so.
            OSError: the trace cannot be read.
        """
        kind, _, value = text.partition(":")
        if kind == "trace" and value:
            times_s = tuple(float(line) for line in Path(value).read_text().split())
            if not times_s or min(times_s) < 0 or list(times_s) != sorted(times_s):
                raise ValueError(f"{value} has no times, or times that do not rise from 0 on")
            return cls(kind=kind, times_s=times_s)
        try:
            rate_rps = float(value)
        except ValueError:
            rate_rps = 0.0
        if kind not in ("constant", "poisson") or not 0 < rate_rps < float("inf"):
            raise ValueError(f"{text!r} is not {FORMS}")
        return cls(kind=kind, rate_rps=rate_rps)

    def times(self, scenario: Scenario, duration_s: float, seed: int) -> Iterator[float]:
        """The intended starts in seconds from the start of the run, rising, all before its end."""
        if self.kind == "trace":
            yield from itertools.takewhile(lambda at_s: at_s < duration_s, self.times_s)
            return
        generator, begin_s = random.Random(f"{seed} arrivals"), 0.0
        for stage in scenario.stages:
            end_s = begin_s + stage.time * duration_s
            rate_rps = self.rate_rps * stage.load
            at_s = begin_s
            for count in itertools.count():
                if self.kind == "poisson":
                    # Memoryless: what was drawn beyond the last stage's end need not be kept.
                    at_s += generator.expovariate(rate_rps)
                else:
                    at_s = begin_s + count / rate_rps
                if at_s >= end_s:
                    break
                yield at_s
            begin_s = end_s
