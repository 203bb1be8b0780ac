"""The sweep itself: servers one after the other, and the loads that each of them gets."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import psutil

from load_tests.run.closed_loop import closed_loop
from load_tests.run.corpus import Clip
from load_tests.sweep.budget import Budget
from load_tests.sweep.costs import CostMeter
from load_tests.sweep.points import Point, Slice, pool
from load_tests.sweep.settings import ServerSetting
from load_tests.sweep.stability import StabilityRule
from load_tests.sweep.store import Store
from tools.local_server import LocalServer

FIRST_WARM_UP_S = 2.0
"""Load before the first slice of a point that does not count, seconds."""

DRAIN_S = 5.0
"""Time for the calls in flight at a slice's end; then they are cancelled. They do not count."""

GONE = (OSError, psutil.NoSuchProcess)
"""Raised by a look at a server that has ended."""

Log = Callable[[str], None]
StartServer = Callable[..., AbstractContextManager[LocalServer]]
"""Called with a ServerSetting and `ready_s`; raises RuntimeError where the server is not ready in
time. Stops the server at the end."""
TakeSlice = Callable[..., Slice]
"""Has the arguments of `take_slice`; raises one of GONE where the server has ended."""


class NoTime(Exception):
    """The limit is too low for settled figures of all points."""


def take_slice(
    server: LocalServer,
    *,
    concurrency: int,
    duration_s: float,
    warm_up_s: float,
    corpus: Sequence[Clip],
    seed: int,
) -> Slice:
    """A stretch of a closed loop, and what it cost."""
    page, pid = server.metrics_url, server.process.pid
    meter = CostMeter(page, pid)
    stretch = closed_loop(
        server.url,
        page,
        concurrency=concurrency,
        duration_s=duration_s,
        warm_up_s=warm_up_s,
        corpus=corpus,
        seed=seed,
        server_pid=pid,
        drain_s=DRAIN_S,
    )
    return Slice(stretch=stretch, costs=meter.read())


class Runner:
    """Measures point after point and writes each down.

    Args:
        start: starts a server and waits until it is ready.
        take: puts load on it.
        rule: when a point has settled.
        corpus: what is sent.
        seed: of its order.
        store: where points are kept.
        log: takes lines about the progress.
        budget: the time that all of it may take.
    """

    def __init__(
        self,
        *,
        start: StartServer,
        take: TakeSlice,
        rule: StabilityRule,
        corpus: Sequence[Clip],
        seed: int,
        store: Store,
        log: Log,
        budget: Budget,
    ) -> None:
        self._start = start
        self._take = take
        self._rule = rule
        self._corpus = corpus
        self._seed = seed
        self._store = store
        self._log = log
        self._budget = budget
        self._points: list[Point] = []
        self._left = self._starts = 0

    def run(
        self,
        settings: Sequence[ServerSetting],
        concurrencies: Sequence[int],
        *,
        done: Sequence[Point] = (),
    ) -> tuple[Point, ...]:
        """Measure what is not done yet.

        A setting whose server does not start is recorded so under every load. A server that dies
        under a load is recorded so, and another one started for the next. Points that the time
        does not reach are recorded so, too.

        Returns:
            All points, the done ones first.

        Raises:
            NoTime: see there.
        """
        self._points = list(done)
        known = {point.key for point in done}
        todo = {
            setting: left
            for setting in settings
            if (left := [each for each in concurrencies if (setting, each) not in known])
        }
        self._left, self._starts = sum(map(len, todo.values())), len(todo)
        self._check_time()
        for setting, left in todo.items():
            self._starts -= 1
            while left and not self._is_late:
                self._serve(setting, left)
            if left:
                self._give_up(setting, left, "no time was left for it")
        return tuple(self._points)

    @property
    def _is_late(self) -> bool:
        """Whether not a single slice is sure to end before the limit."""
        return self._budget.left_s < self._longest_s(FIRST_WARM_UP_S)

    def _check_time(self) -> None:
        """Refuse a limit under which points could not settle though all goes well."""
        if not self._left:
            return
        count = {"points": self._left, "starts": self._starts}
        needed_s = FIRST_WARM_UP_S - 1.0 + self._rule.slices * self._longest_s(1.0)
        if (share_s := self._budget.share_s(**count)) < needed_s:
            limit_s = self._budget.limit_for(**count, share_s=needed_s)
            raise NoTime(
                f"{self._left} points in {self._budget.limit_s:.0f} s would have {share_s:.0f} s "
                f"each, and {self._rule.slices} slices may take {needed_s:.0f} s: name fewer, or "
                f"--time-limit-s {limit_s + 1:.0f}"
            )

    def _serve(self, setting: ServerSetting, left: list[int]) -> None:
        """Take loads from `left` on one server, while it lives and there is time."""
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(self._start(setting, ready_s=self._budget.left_s))
            except RuntimeError as error:
                self._give_up(setting, left, f"no start: {error}; see server.log")
                return
            while left and not self._is_late:
                point = self._measure(server, setting, left.pop(0))
                self._keep(point)
                if point.measured is None:
                    return

    def _give_up(self, setting: ServerSetting, left: list[int], why: str) -> None:
        self._keep(*(Point(setting=setting, concurrency=each, error=why) for each in left))
        left.clear()

    def _measure(self, server: LocalServer, setting: ServerSetting, concurrency: int) -> Point:
        slices: list[Slice] = []
        warm_up_s, stable, capped = FIRST_WARM_UP_S, False, False
        share_s = self._budget.share_s(points=self._left, starts=self._starts)
        until_s = max(0.0, self._budget.left_s - share_s)
        try:
            while not (stable or capped) and len(slices) < self._rule.max_slices:
                taken = self._take(
                    server,
                    concurrency=concurrency,
                    duration_s=self._rule.slice_s,
                    warm_up_s=warm_up_s,
                    corpus=self._corpus,
                    seed=self._seed + len(slices),
                )
                if server.process.poll() is not None:
                    raise ProcessLookupError("it ended")
                slices.append(taken)
                stable = self._rule.is_stable([each.rtfx for each in slices])
                # Callers who begin together are served in step for about one round of calls.
                warm_up_s = min(max(1.0, taken.stretch.tally.mean_s()), self._rule.slice_s)
                capped = self._budget.left_s - self._longest_s(warm_up_s) < until_s
        except GONE as error:
            return Point(setting=setting, concurrency=concurrency, error=_death(server, error))
        measured = pool(
            slices[-self._rule.slices :],
            self._corpus,
            stable=stable,
            capped=capped and not stable and len(slices) < self._rule.max_slices,
        )
        return Point(setting=setting, concurrency=concurrency, measured=measured)

    def _longest_s(self, warm_up_s: float) -> float:
        """Maximum time of a slice."""
        return warm_up_s + self._rule.slice_s + DRAIN_S

    def _keep(self, *points: Point) -> None:
        """Write points down, and say the last."""
        self._points += points
        self._left -= len(points)
        self._store.write(self._points, date=datetime.date.today().isoformat())
        self._log(f"{_line(points[-1])}; {self._left} to go")


def _death(server: LocalServer, error: Exception) -> str:
    status = server.process.poll()
    if status is None:
        return f"the server did not answer: {error}"
    return f"asr-server ended with status {status} under this load"


def _line(point: Point) -> str:
    name = f"{point.setting}; {point.concurrency} callers"
    if point.measured is None:
        return f"{name}: {point.error}"
    figures = point.measured
    return (
        f"{name}: {figures.rtfx:.1f} s of audio a second, p95 {figures.p95_s:.2f} s"
        f"{'' if figures.stable else ', not settled'}{' in its time' if figures.capped else ''}"
    )
