"""Coordinates a run: prepares it, sets the number of callers, and judges it at the end.

Runs in Locust's only process, or in the master of a distributed run.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.report.report_numbers import figures
from load_tests.report.server_side import ServerFigures, Watch
from load_tests.report.slo import Gate, broken
from load_tests.report.summary import Summary
from load_tests.run.arrivals import Arrivals
from load_tests.run.closed_loop import transcripts_alone
from load_tests.run.scenarios import knee, stage_at
from load_tests.run.worker import Plan, Run, Share

BEGIN = "load_tests: begin"
"""The message to the workers that a run begins."""

_HEAD_START_S = 2.0
"""Time for the workers to make their clips before the first call is due."""
_REPORT_S = 5.0
"""Locust's workers report every three seconds."""
_DRAIN_MARGIN_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """The server to be measured."""

    url: str
    """HOST:PORT."""

    metrics_url: str | None
    """Of its metrics page; None leaves its side of the run out."""

    pid: int | None
    """Process id of asr-server when it runs on this machine."""


class Coordinator:
    """One run, from the warm-up to the verdict.

    Args:
        runner: Locust's.
        target: the server.
        plan: of the run.
        gates: its limits.
        output: where to write the figures as JSON; None is nowhere.
    """

    def __init__(
        self, runner: Any, target: Target, plan: Plan, gates: tuple[Gate, ...], output: Path | None
    ) -> None:
        self.plan = plan
        self._runner = runner
        self._target = target
        self._gates = gates
        self._output = output
        self._clients = getattr(runner, "clients", None)
        # In an open loop each has one user, which sends its part of the schedule.
        self._processes = 1 if self._clients is None else len(self._clients.ready)
        self._drained_s: float | None = None
        self._reported: set[str] = set()
        self._knee: int | None = None
        self._problems: list[str] = []
        self._watch: Watch | None = None
        self.text = self.verdict = ""
        """The summary of the run and whether its gates were kept, once it has ended."""
        # One call at a time, before any load: it warms the server, too.
        self._alone = transcripts_alone(
            target.url, Run(plan, Share()).corpus, call_timeout_s=plan.timeout_s
        )
        if target.metrics_url is not None:
            self._watch = Watch(target.metrics_url, target.pid).start()
        head_start_s = 0.0 if self._clients is None else _HEAD_START_S
        self.run = Run(plan, Share(began_s=time.time() + head_start_s))
        self._tell_workers()

    def _tell_workers(self) -> None:
        if self._clients is None:
            return
        for index, client in enumerate(self._clients.ready):
            share = Share(index=index, of=self._processes, began_s=self.run.share.began_s)
            self._runner.send_message(
                BEGIN, begin_message(self._target.url, self.plan, share), client.id
            )

    def take_report(self, worker: str, report: dict[str, Any]) -> None:
        """Count what a worker did since its last report."""
        self._reported.add(worker)
        if report:
            try:
                self.run.add(report)
            except ValueError as error:
                self._problems.append(f"generators: {error}")

    def users(self) -> int | None:
        """How many Locust users there are to be now; None when the run is over."""
        scenario, duration_s = self.plan.scenario, self.plan.duration_s
        stage = stage_at(scenario, self.run.elapsed_s, duration_s)
        if scenario.to_knee and self.plan.arrivals is None and self._knee is None:
            self._knee = self._find_knee()
        if self._knee is None and stage < len(scenario.stages):
            return self.plan.callers(stage) if self.plan.arrivals is None else self._processes
        return None if self._is_drained() else 0

    def _find_knee(self) -> int | None:
        """The knee, from the stages that are over and reported."""
        late_s = 0.0 if self._clients is None else _REPORT_S
        at_s = self.run.elapsed_s - late_s
        over = stage_at(self.plan.scenario, at_s, self.plan.duration_s)
        return knee([self.run.total(stage=stage).audio_s for stage in range(over)])

    def _is_drained(self) -> bool:
        """Whether the calls in flight have ended and their counts are here."""
        now = time.monotonic()
        if self._drained_s is None:
            self._drained_s = now + self.plan.timeout_s + _DRAIN_MARGIN_S
        if now > self._drained_s:
            self._problems.append("generators: some did not stop, or did not report")
            return True
        if self._runner.user_count:
            self._reported.clear()
            return False
        if self._clients is None:
            return True
        workers = {client.id for client in self._clients.all}
        if len(workers) < self._processes:
            lost = self._processes - len(workers)
            self._problems.append(f"generators: {lost} of {self._processes} were lost")
            return True
        return workers <= self._reported

    def conclude(self) -> int:
        """Sum the run up and judge it; the exit status, 1 when a gate was broken."""
        server: ServerFigures | None = None
        if self._watch is not None:
            try:
                server = self._watch.stop()
            except OSError as error:
                self._problems.append(f"server: its metrics page is gone ({error})")
        summary = self.summary(server)
        seen = summary.seen
        reasons = self._problems + broken(self._gates, seen)
        self.text = summary.text()
        self.verdict = "\n".join([f"gate broken: {reason}" for reason in reasons] or ["gates kept"])
        if self._output is not None:
            written = {"figures": dataclasses.asdict(seen), "broken": reasons} | summary.data()
            try:
                self._output.write_text(json.dumps(written, indent=1) + "\n")
            except OSError as error:
                self.verdict += f"\nthe figures are not written: {error}"
                return 1
        return 1 if reasons else 0

    def summary(self, server: ServerFigures | None = None) -> Summary:
        """The results of the run so far."""
        plan, offered = self.plan, self.plan.offered()
        # A run may be stopped early.
        duration_s = max(1e-3, min(plan.duration_s, self.run.elapsed_s))
        seen = figures(
            self.run.total(),
            self.run.corpus,
            in_time=self.run.in_time(),
            duration_s=duration_s,
            concurrency=plan.users if plan.arrivals is None else None,
            offered_rps=None if offered is None else offered / plan.duration_s,
            alone=self._alone,
            server=server,
        )
        return Summary(self.run, seen, alone=self._alone, knee=self._knee)


def begin_message(url: str, plan: Plan, share: Share) -> dict[str, Any]:
    """The message to a worker, as plain values."""
    return {"url": url, "plan": dataclasses.asdict(plan), "share": dataclasses.asdict(share)}


def begun(message: dict[str, Any]) -> tuple[str, Run]:
    """The address and the run that a master's message is about."""
    plan = dict(message["plan"])
    if plan["arrivals"] is not None:
        times_s = tuple(plan["arrivals"]["times_s"])
        plan["arrivals"] = Arrivals(**plan["arrivals"] | {"times_s": times_s})
    return message["url"], Run(Plan(**plan), Share(**message["share"]))
