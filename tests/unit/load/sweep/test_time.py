"""The sweep ends within its limit, whatever its servers and points take."""

import contextlib

import pytest

from load_tests.run.corpus import build_corpus
from load_tests.sweep.__main__ import command_line
from load_tests.sweep.budget import START_S, STOP_S, Budget
from load_tests.sweep.recommendation import Target
from load_tests.sweep.runner import DRAIN_S, NoTime, Runner
from load_tests.sweep.stability import StabilityRule
from load_tests.sweep.store import Store, read_sweep
from tests.support.load.laboratory import Laboratory, a_slice
from tests.support.load.sweeps import setting

CORPUS = build_corpus(seed=0, mix={"commands": 4})
DEFAULTS = command_line().parse_args([])
SETTINGS = [setting(count) for count in DEFAULTS.instances]
RULE = StabilityRule(
    slice_s=DEFAULTS.slice_s,
    slices=DEFAULTS.slices,
    max_slices=DEFAULTS.max_slices,
    tolerance=DEFAULTS.tolerance,
)
REPORT_S = 60.0
"""What is left of 15 minutes for drawing the report."""


class SlowLaboratory:
    """A machine on which all takes the longest that it may, on a clock of its own.

    Args:
        start_s: until a server is ready.
        calm: whether the throughput settles at once.
        drain_s: until calls in flight at the end of a slice have ended.
    """

    def __init__(self, folder, *, start_s=START_S, calm=False, drain_s=DRAIN_S):
        self.now = 0.0
        self.calm, self.start_s, self.drain_s = calm, start_s, drain_s
        self.spent = {}
        self._server = Laboratory(folder)
        self._folder = folder

    @contextlib.contextmanager
    def start(self, setting, *, ready_s):
        self.now += min(self.start_s, ready_s)
        if self.start_s > ready_s:
            raise RuntimeError("asr-server was not ready")
        with self._server.start(setting, ready_s=ready_s) as server:
            yield server
        self.now += STOP_S

    def take(self, server, *, concurrency, duration_s, warm_up_s, corpus, seed):
        took_s = warm_up_s + duration_s + self.drain_s
        self.now += took_s
        key = self._server.setting.instances, concurrency
        self.spent[key] = self.spent.get(key, 0.0) + took_s
        # Calls as slow as they get make the longest warm-ups.
        return a_slice(rtfx=50.0 if self.calm else 50.0 * (1 + seed), latencies_s=(60.0,))

    def run(self, limit_s=DEFAULTS.time_limit_s, settings=SETTINGS, calls=DEFAULTS.concurrency):
        runner = Runner(
            start=self.start,
            take=self.take,
            rule=RULE,
            corpus=CORPUS,
            seed=0,
            store=Store(self._folder, conditions={}, target=Target()),
            log=lambda line: None,
            budget=Budget(limit_s, clock=lambda: self.now),
        )
        return runner.run(settings, calls)


def test_the_defaults_end_within_fifteen_minutes_at_their_worst(tmp_path):
    slow = SlowLaboratory(tmp_path)
    points = slow.run()
    assert slow.now <= DEFAULTS.time_limit_s
    assert DEFAULTS.time_limit_s + REPORT_S <= 15 * 60
    assert len(points) == len(DEFAULTS.instances) * len(DEFAULTS.concurrency) == len(slow.spent)
    # Every point has figures, each was given up for want of time, and says so.
    assert all(each.measured.capped and not each.measured.stable for each in points)
    assert read_sweep(tmp_path / "sweep.json").points == points
    header, *rows = (tmp_path / "sweep.csv").read_text().splitlines()
    column = header.split(",").index("capped")
    assert {row.split(",")[column] for row in rows} == {"True"}


def test_points_that_settle_leave_their_time_to_the_others(tmp_path):
    calm = SlowLaboratory(tmp_path / "calm", calm=True, drain_s=0.3)
    assert all(each.measured.stable and not each.measured.capped for each in calm.run())
    restless = SlowLaboratory(tmp_path / "restless", drain_s=0.3)
    points = restless.run()
    # They end at the limit of slices, not of time, once the first ones have left enough of it.
    assert not any(each.measured.stable for each in points)
    assert not points[-1].measured.capped
    assert restless.now <= DEFAULTS.time_limit_s


@pytest.mark.parametrize("start_s", [100.0, 400.0, 1000.0])
def test_servers_that_start_slowly_take_from_the_points(tmp_path, start_s):
    slow = SlowLaboratory(tmp_path, start_s=start_s)
    points = slow.run()
    assert slow.now <= DEFAULTS.time_limit_s
    assert len(points) == 18
    for each in points:
        assert each.measured or each.error.startswith(("no start", "no time was left"))
    assert (points[0].measured is None) == (start_s == 1000.0)


def test_a_limit_that_is_too_low_is_refused_with_one_that_is_not(tmp_path):
    slow = SlowLaboratory(tmp_path)
    with pytest.raises(NoTime, match=r"18 points in 300 s would have \d+ s each") as refused:
        slow.run(300.0)
    assert slow.now == 0
    named = float(str(refused.value).rpartition(" ")[2])
    assert SlowLaboratory(tmp_path).run(named)
    with pytest.raises(NoTime):
        SlowLaboratory(tmp_path).run(named - 2)


def test_nothing_to_do_needs_no_time(tmp_path):
    assert SlowLaboratory(tmp_path).run(1.0, settings=[]) == ()
