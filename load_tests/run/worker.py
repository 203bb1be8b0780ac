"""One run in one process: the clips that it sends, its start, and its counts so far."""

from __future__ import annotations

import itertools
import random
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from load_tests.report.live_tally import LiveTally
from load_tests.report.tally import Tally
from load_tests.run.arrivals import Arrivals
from load_tests.run.bad_inputs import BAD_INPUTS
from load_tests.run.closed_loop import endless
from load_tests.run.corpus import Clip, build_corpus, digest
from load_tests.run.scenarios import SCENARIOS, SENDS, Scenario, stage_at


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run as it was asked for; the same on all generators."""

    name: str
    """One of `SCENARIOS`."""

    users: int
    """Callers of a closed loop at full load."""

    duration_s: float
    arrivals: Arrivals | None
    """None is a closed loop."""

    seed: int
    timeout_s: float
    """Deadline of a call."""

    @property
    def scenario(self) -> Scenario:
        """The scenario of that name."""
        return SCENARIOS[self.name]

    def callers(self, stage: int) -> int:
        """Callers of a closed loop in a stage; 1 or more, unless the run has none."""
        return min(self.users, max(1, round(self.users * self.scenario.stages[stage].load)))

    def offered(self) -> int | None:
        """Calls of an open loop's whole schedule."""
        if self.arrivals is None:
            return None
        return sum(1 for _ in self.arrivals.times(self.scenario, self.duration_s, self.seed))


@dataclass(kw_only=True)
class Share:
    """This process's part of the run, as the coordinator sets it."""

    index: int = 0
    of: int = 1
    began_s: float = field(default_factory=time.time)
    """When the run began, by the clock on the wall, which the machines have in common."""


class Run:
    """Holds the clips and counts the calls, by stage and kind.

    Args:
        plan: of the run.
        share: this process's part of it.
    """

    def __init__(self, plan: Plan, share: Share) -> None:
        self.plan = plan
        self.share = share
        self.corpus = build_corpus(seed=plan.seed, mix=plan.scenario.mix)
        self.digest = digest(self.corpus)
        self.tallies: dict[tuple[int, str], Tally] = {}
        """By the index of the stage, the number of stages standing for after the end."""
        self.late_s = array("d")
        """How much later than intended each call of an open loop was sent."""
        self._callers = itertools.count(share.index, share.of)
        # The wall clock may be set back or forth; it serves for this one difference.
        self._began = time.perf_counter() - (time.time() - share.began_s)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began; negative while it has not."""
        return time.perf_counter() - self._began

    @property
    def is_over(self) -> bool:
        """Whether no more calls are to be made."""
        return self.elapsed_s >= self.plan.duration_s

    def clips(self, sends: str) -> Iterator[Clip]:
        """What one more caller of a closed loop sends, of the kinds in `SENDS`."""
        seed = f"{self.plan.seed} {next(self._callers)}"
        return _with_bad(self._good(sends, seed), self.plan.scenario.bad, seed)

    def _good(self, sends: str, seed: str) -> Iterator[Clip]:
        return endless([clip for clip in self.corpus if clip.kind in SENDS[sends]], seed)

    def schedule(self) -> Iterator[tuple[float, Clip]]:
        """This process's part of an open loop: intended starts, seconds, and what to send."""
        plan, rng = self.plan, random.Random(f"{self.plan.seed} callers")
        assert plan.arrivals is not None
        callers, weights = zip(*plan.scenario.callers.items(), strict=True)
        good = {sends: self._good(sends, f"{plan.seed} {sends}") for sends in callers}
        drawn = (next(good[rng.choices(callers, weights)[0]]) for _ in itertools.count())
        clips = _with_bad(drawn, plan.scenario.bad, f"{plan.seed} open")
        times = plan.arrivals.times(plan.scenario, plan.duration_s, plan.seed)
        calls = zip(times, clips, strict=False)
        return itertools.islice(calls, self.share.index, None, self.share.of)

    def note(
        self,
        clip: Clip,
        *,
        due_s: float,
        began_s: float,
        text: str,
        error: Exception | None,
        live: LiveTally | None = None,
    ) -> bool:
        """Count a call that has just ended; True when it ended as it should.

        Args:
            clip: what was sent.
            due_s: when it was to be sent, in seconds since the run began.
            began_s: when it was.
            text: the transcript.
            error: what it ended with instead.
            live: counts of a live stream; its latency is from the end of its audio.
        """
        now_s = self.elapsed_s
        stage = stage_at(self.plan.scenario, now_s, self.plan.duration_s)
        tally = self.tallies.setdefault((stage, clip.kind), Tally())
        if self.plan.arrivals is not None:
            self.late_s.append(began_s - due_s)
        if live is not None:
            tally.live.add(live)
            due_s = min(now_s, due_s + clip.duration_s)
        if error is not None:
            return tally.ended(clip, now_s - due_s, error)
        return tally.answered(clip, now_s - due_s, text)

    def take(self) -> dict[str, Any]:
        """What came since the last time, as plain values for the coordinator."""
        taken, self.tallies = self.tallies, {}
        late_s, self.late_s = self.late_s, array("d")
        return {
            "began_s": self.share.began_s,
            "digest": self.digest,
            "late_s": late_s.tobytes(),
            "tallies": [[*key, tally.to_message()] for key, tally in taken.items()],
        }

    def add(self, message: Mapping[str, Any]) -> None:
        """Count what another process took; what it took of an earlier run is left out.

        Raises:
            ValueError: it sent other clips.
        """
        if message["began_s"] != self.share.began_s:
            return
        if message["digest"] != self.digest:
            raise ValueError(f"a generator has the corpus {message['digest']}, not {self.digest}")
        self.late_s.frombytes(message["late_s"])
        for stage, kind, tally in message["tallies"]:
            self.tallies.setdefault((stage, kind), Tally()).add(Tally.from_message(tally))

    def total(self, *, stage: int | None = None, kind: str | None = None) -> Tally:
        """The counts of a stage, of a kind, or of all."""
        total = Tally()
        for key, tally in self.tallies.items():
            if stage in (None, key[0]) and kind in (None, key[1]):
                total.add(tally)
        return total

    def in_time(self) -> Tally:
        """The counts of the calls that ended before the run did."""
        total = Tally()
        for (stage, _), tally in self.tallies.items():
            if stage < len(self.plan.scenario.stages):
                total.add(tally)
        return total


def _with_bad(good: Iterator[Clip], share: float, seed: str) -> Iterator[Clip]:
    if not share:
        return good
    rng, bad = random.Random(f"{seed} bad"), endless(BAD_INPUTS, seed)
    return (next(bad) if rng.random() < share else next(good) for _ in itertools.count())
