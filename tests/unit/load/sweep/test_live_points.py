import pytest

from load_tests.sweep.live_points import LivePoint, held, sentence
from load_tests.sweep.recommendation import Target
from load_tests.sweep.report import render
from load_tests.sweep.runner import Streams
from load_tests.sweep.store import Sweep, read_sweep
from tests.support.load.laboratory import Laboratory
from tests.support.load.sweeps import live_point, point, setting

TARGET = Target(interim_p95_s=0.5)
ONE, TWO = setting(1), setting(2)
POINTS = (
    live_point(1, 4, interim_p95_s=0.1),
    live_point(1, 8, interim_p95_s=0.4),
    live_point(1, 16, interim_p95_s=0.9),
    # Luck: fewer streams did not keep the target.
    live_point(1, 32, interim_p95_s=0.3),
    live_point(2, 4, interim_p95_s=0.2),
    live_point(2, 8, failures=1),
    LivePoint(setting=setting(4), streams=4, error="asr-server ended with status 1"),
)


def test_a_setting_holds_the_most_streams_that_all_fewer_keep_the_target_with():
    found = held(POINTS, TARGET)
    assert {each: point.streams for each, point in found.items()} == {ONE: 8, TWO: 4}


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ((), ""),
        (
            POINTS,
            "It holds 8 live streams (p95 of an interim at most 0.5 s, none failed) with",
        ),
        (POINTS[:2], "It was the most that was tried."),
        (POINTS[2:4], "No number of live streams keeps the target"),
    ],
)
def test_the_answer_is_a_sentence(points, says):
    assert says in sentence(points, TARGET)
    assert bool(sentence(points, TARGET)) == bool(points)


def test_live_streams_come_after_the_callers_of_their_setting(tmp_path):
    laboratory = Laboratory(tmp_path)
    points = laboratory.run([ONE, TWO], [1, 2], streams=[2, 4])
    assert [each.key for each in points] == [(ONE, 1), (ONE, 2), (TWO, 1), (TWO, 2)]
    assert [each.key for each in laboratory.live_points] == [(ONE, 2), (ONE, 4), (TWO, 2), (TWO, 4)]
    assert laboratory.starts == [ONE, TWO]
    written = read_sweep(tmp_path / "sweep.json")
    assert (written.points, written.live_points) == (points, laboratory.live_points)
    again = Laboratory(tmp_path)
    again.run([ONE, TWO], [1, 2], streams=[2, 4])
    assert again.starts == []
    assert again.live_points == laboratory.live_points


def test_a_server_that_dies_under_streams_is_recorded_and_replaced(tmp_path):
    laboratory = Laboratory(tmp_path)
    laboratory.deadly.add((ONE, Streams(2)))
    laboratory.run([ONE], [1], streams=[2, 4])
    first, second = laboratory.live_points
    assert first.measured is None
    assert "under this load" in first.error
    assert second.measured is not None
    assert laboratory.starts == [ONE, ONE]


def test_the_report_has_a_column_a_table_and_a_picture_of_live_streams():
    points = (point(1, 1), point(2, 1))
    page = render(
        Sweep(conditions={}, points=points, target=TARGET, date="today", live_points=POINTS)
    )
    assert "It holds 8 live streams" in page
    assert "<th>live streams</th>" in page
    assert page.count("<td>8</td></tr>") == 1
    assert page.count("data:image/svg+xml") == 8
    assert page.count("class=best") == 3
