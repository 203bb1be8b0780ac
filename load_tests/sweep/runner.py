"""The sweep itself: servers one after the other, and the loads that each of them gets."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psutil

from load_tests.run.closed_loop import closed_loop
from load_tests.run.corpus import Clip
from load_tests.run.live_loop import live_loop
from load_tests.sweep.budget import Budget
from load_tests.sweep.costs import CostMeter
from load_tests.sweep.live_points import LiveMeasured, LivePoint, measured
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


TakeLive = Callable[..., LiveMeasured]
"""Has the arguments of `take_live`; raises one of GONE where the server has ended."""


@dataclass(frozen=True)
class Streams:
    """A load of live streams; one of callers is their number."""

    count: int


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


def take_live(server: LocalServer, *, streams: Sequence[Clip]) -> LiveMeasured:
    """Play streams to their ends, and what that cost."""
    page, pid = server.metrics_url, server.process.pid
    meter = CostMeter(page, pid)
    stretch = live_loop(server.url, page, streams=streams, server_pid=pid, drain_s=DRAIN_S)
    return measured(Slice(stretch=stretch, costs=meter.read()), streams)


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
        talks: clips for live streams; the first n are a load of n streams.
        take_live: plays them.
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
        talks: Sequence[Clip] = (),
        take_live: TakeLive = take_live,
    ) -> None:
        self._start = start
        self._take = take
        self._rule = rule
        self._corpus = corpus
        self._seed = seed
        self._store = store
        self._log = log
        self._budget = budget
        self._talks = talks
        self._take_live = take_live
        self._points: list[Point] = []
        self._live: list[LivePoint] = []
        self._left = self._starts = 0

    def run(
        self,
        settings: Sequence[ServerSetting],
        concurrencies: Sequence[int],
        *,
        done: Sequence[Point] = (),
        streams: Sequence[int] = (),
        live_done: Sequence[LivePoint] = (),
    ) -> tuple[Point, ...]:
        """Measure what is not done yet.

        A setting whose server does not start is recorded so under every load. A server that dies
        under a load is recorded so, and another one started for the next. Points that the time
        does not reach are recorded so, too. A setting's live streams come after its callers.

        Returns:
            All points of callers, the done ones first; `live_points` has those of streams.

        Raises:
            NoTime: see there.
        """
        self._points, self._live = list(done), list(live_done)
        known = {point.key for point in done}
        known_live = {point.key for point in live_done}
        todo: dict[ServerSetting, list[int | Streams]] = {}
        for setting in settings:
            loads: list[int | Streams] = [n for n in concurrencies if (setting, n) not in known]
            loads += [Streams(n) for n in streams if (setting, n) not in known_live]
            if loads:
                todo[setting] = loads
        self._longest_live_s = max((clip.duration_s for clip in self._talks), default=0.0)
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
    def live_points(self) -> tuple[LivePoint, ...]:
        """The points of live streams, the done ones first."""
        return tuple(self._live)

    @property
    def _is_late(self) -> bool:
        """Whether not a single slice is sure to end before the limit."""
        longest_s = max(self._longest_s(FIRST_WARM_UP_S), self._longest_live_s + DRAIN_S)
        return self._budget.left_s < longest_s

    def _check_time(self) -> None:
        """Refuse a limit under which points could not settle though all goes well."""
        if not self._left:
            return
        count = {"points": self._left, "starts": self._starts}
        needed_s = FIRST_WARM_UP_S - 1.0 + self._rule.slices * self._longest_s(1.0)
        needed_s = max(needed_s, self._longest_live_s + DRAIN_S)
        if (share_s := self._budget.share_s(**count)) < needed_s:
            limit_s = self._budget.limit_for(**count, share_s=needed_s)
            raise NoTime(
                f"{self._left} points in {self._budget.limit_s:.0f} s would have {share_s:.0f} s "
                f"each, and {self._rule.slices} slices may take {needed_s:.0f} s: name fewer, or "
                f"--time-limit-s {limit_s + 1:.0f}"
            )

    def _serve(self, setting: ServerSetting, left: list[int | Streams]) -> None:
        """Take loads from `left` on one server, while it lives and there is time."""
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(self._start(setting, ready_s=self._budget.left_s))
            except RuntimeError as error:
                self._give_up(setting, left, f"no start: {error}; see server.log")
                return
            while left and not self._is_late:
                load = left.pop(0)
                point = (
                    self._measure_live(server, setting, load.count)
                    if isinstance(load, Streams)
                    else self._measure(server, setting, load)
                )
                self._keep(point)
                if point.measured is None:
                    return

    def _give_up(self, setting: ServerSetting, left: list[int | Streams], why: str) -> None:
        self._keep(
            *(
                LivePoint(setting=setting, streams=load.count, error=why)
                if isinstance(load, Streams)
                else Point(setting=setting, concurrency=load, error=why)
                for load in left
            )
        )
        left.clear()

    def _measure_live(self, server: LocalServer, setting: ServerSetting, streams: int) -> LivePoint:
        try:
            found = self._take_live(server, streams=self._talks[:streams])
            if server.process.poll() is not None:
                raise ProcessLookupError("it ended")
        except GONE as error:
            return LivePoint(setting=setting, streams=streams, error=_death(server, error))
        return LivePoint(setting=setting, streams=streams, measured=found)

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

    def _keep(self, *points: Point | LivePoint) -> None:
        """Write points down, and say the last."""
        for point in points:
            if isinstance(point, LivePoint):
                self._live.append(point)
            else:
                self._points.append(point)
        self._left -= len(points)
        self._store.write(self._points, self._live, date=datetime.date.today().isoformat())
        self._log(f"{_line(points[-1])}; {self._left} to go")


def _death(server: LocalServer, error: Exception) -> str:
    status = server.process.poll()
    if status is None:
        return f"the server did not answer: {error}"
    return f"asr-server ended with status {status} under this load"


def _line(point: Point | LivePoint) -> str:
    if isinstance(point, LivePoint):
        return _live_line(point)
    name = f"{point.setting}; {point.concurrency} callers"
    if point.measured is None:
        return f"{name}: {point.error}"
    figures = point.measured
    return (
        f"{name}: {figures.rtfx:.1f} s of audio a second, p95 {figures.p95_s:.2f} s"
        f"{'' if figures.stable else ', not settled'}{' in its time' if figures.capped else ''}"
    )


def _live_line(point: LivePoint) -> str:
    name = f"{point.setting}; {point.streams} live streams"
    if point.measured is None:
        return f"{name}: {point.error}"
    words = point.measured.words
    return (
        f"{name}: p95 {words.interim_p95_s:.2f} s for an interim, {point.measured.failures} failed"
    )
