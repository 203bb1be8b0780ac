from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.sweep.points import Point
from load_tests.sweep.recommendation import KNEE_SHARE, Target, knees, recommend
from load_tests.sweep.store import read_sweep
from tests.support.load.sweeps import point, setting

RECORDED = sorted((Path(__file__).parents[4] / "docs").glob("**/sweep.json"))
MIB = 2**20


def keeps(each, target):
    figures = each.measured
    return (
        figures is not None
        and figures.p95_s <= target.p95_s
        and figures.failures <= target.failure_share * figures.calls
        and (target.memory_bytes is None or figures.memory_bytes <= target.memory_bytes)
    )


def assert_at_least_as_good_as_every_other(points, target):
    found = recommend(points, target)
    kept = [each for each in points if keeps(each, target)]
    if not kept:
        assert found.point is None
        return
    assert found.point in kept
    assert found.point.measured.rtfx == max(each.measured.rtfx for each in kept)


def test_a_sweep_is_recorded():
    assert RECORDED


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("p95_s", [0.05, 0.3, 1.0, 2.0, 60.0])
@pytest.mark.parametrize("memory_mib", [None, 700, 1000, 2000])
def test_on_recorded_sweeps(path, p95_s, memory_mib):
    target = Target(p95_s=p95_s, memory_bytes=memory_mib and memory_mib * MIB)
    assert_at_least_as_good_as_every_other(read_sweep(path).points, target)


figures = st.fixed_dictionaries(
    {
        "rtfx": st.floats(0.0, 500.0),
        "p95_s": st.floats(0.01, 5.0),
        "failures": st.integers(0, 3),
        "memory_bytes": st.integers(300 * MIB, 3000 * MIB),
    }
)


@given(st.lists(figures, max_size=12), st.floats(0.1, 3.0), st.sampled_from([None, 900 * MIB]))
def test_on_any_sweep(points, p95_s, memory_bytes):
    target = Target(p95_s=p95_s, memory_bytes=memory_bytes)
    assert_at_least_as_good_as_every_other(
        [point(1, 1 + index, **values) for index, values in enumerate(points)], target
    )


def test_the_sentence_has_the_setting_the_figures_and_the_target():
    points = [point(1, 4, rtfx=70.0), point(2, 8, rtfx=90.0, p95_s=0.91), point(4, 8, rtfx=80.0)]
    found = recommend(points, Target(p95_s=1.0, memory_bytes=2048 * MIB))
    assert found.point == points[1]
    for words in (
        "2 instances",
        "up to 8 calls in flight",
        "90.0 s of audio a second",
        "p95 0.91 s",
        "p95 at most 1 s",
        "at most 2048 MiB",
        "all 3 points",
    ):
        assert words in found.sentence


def test_of_equals_the_one_with_less_memory():
    points = [point(2, 8, memory_bytes=900 * MIB), point(1, 8, memory_bytes=600 * MIB)]
    assert recommend(points, Target()).point == points[1]


def test_a_thriftier_setting_that_is_nearly_as_fast_is_named():
    points = [
        point(4, 8, rtfx=100.0, memory_bytes=1500 * MIB),
        point(2, 8, rtfx=96.0, memory_bytes=900 * MIB),
        point(1, 8, rtfx=80.0, memory_bytes=600 * MIB),
    ]
    found = recommend(points, Target())
    assert (found.point, found.thriftier) == (points[0], points[1])
    assert "Nearly as fast (96.0) with 900 MiB: 2 instances" in found.sentence


def test_without_a_point_that_keeps_the_target_none_is_recommended():
    found = recommend([point(1, 1, p95_s=3.0), point(1, 2, p95_s=2.5, failures=9)], Target())
    assert found.point is None
    assert "No point keeps the target" in found.sentence
    assert "p95 2.50 s, the target is 2 s" in found.sentence
    assert "4.00% of calls failed" in found.sentence


def test_points_without_figures_are_passed_over():
    dead = Point(setting=setting(4), concurrency=8, error="asr-server ended with status 1")
    assert recommend([dead], Target()).sentence == "Nothing was measured."
    alive = point(1, 1)
    assert recommend([dead, alive], Target()).point == alive
    assert dead.setting not in knees([dead, alive])


def test_the_knee_is_the_fewest_callers_near_the_greatest_throughput():
    rates = {1: 40.0, 2: 70.0, 4: 96.0, 8: 100.0, 16: 99.0}
    points = [point(1, callers, rtfx=rate) for callers, rate in rates.items()]
    assert knees(points) == {setting(1): points[2]}
    assert points[1].measured.rtfx < KNEE_SHARE * 100 <= points[2].measured.rtfx
    slow = [replace(each, setting=setting(2)) for each in points[:2]]
    assert knees([*points, *slow]) == {setting(1): points[2], setting(2): slow[1]}
