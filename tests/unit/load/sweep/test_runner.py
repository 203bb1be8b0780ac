"""The sweep with a double of the server and one of the load on it."""

import json

import pytest

from load_tests.sweep.__main__ import main
from load_tests.sweep.plan import plan, read_defaults
from load_tests.sweep.points import pool
from load_tests.sweep.recommendation import Target
from load_tests.sweep.settings import name_apart
from load_tests.sweep.store import OtherSweep, Store, read_sweep
from tests.support.load.laboratory import CORPUS, RULE, Laboratory, a_slice
from tests.support.load.sweeps import setting

ONE, TWO = setting(1), setting(2)


def test_one_server_a_setting_and_every_load_on_it(tmp_path):
    laboratory = Laboratory(tmp_path)
    points = laboratory.run([ONE, TWO], [1, 2, 4])
    assert laboratory.starts == [ONE, TWO]
    assert [each.key for each in points] == [(s, c) for s in (ONE, TWO) for c in (1, 2, 4)]
    assert all(each.measured.stable for each in points)
    assert set(laboratory.loads.values()) == {RULE.slices}
    assert read_sweep(tmp_path / "sweep.json").points == points


@pytest.mark.parametrize(
    ("throughputs", "stable"),
    [
        ([], False),
        ([50.0], False),
        ([50.0, 52.0], True),
        ([50.0, 60.0], False),
        ([10.0, 50.0, 51.0], True),
        ([50.0, 51.0, 70.0], False),
        ([0.0, 0.0], False),
    ],
)
def test_stable_when_the_last_slices_agree(throughputs, stable):
    assert RULE.is_stable(throughputs) is stable


def test_slices_before_it_settled_are_dropped(tmp_path):
    laboratory = Laboratory(tmp_path, throughputs=(10.0, 30.0, 49.0, 51.0))
    (only,) = laboratory.run([ONE], [1])
    assert only.measured.stable
    assert only.measured.rtfx == pytest.approx(50.0)
    assert only.measured.seconds == 2.0


def test_a_point_that_does_not_settle_ends_at_the_limit(tmp_path):
    laboratory = Laboratory(tmp_path, throughputs=(10.0, 90.0))
    (only,) = laboratory.run([ONE], [1])
    assert not only.measured.stable
    assert laboratory.loads[ONE, 1] == RULE.max_slices
    assert "not settled" in laboratory.lines[-1]


def test_a_server_that_dies_is_recorded_and_the_sweep_goes_on(tmp_path):
    laboratory = Laboratory(tmp_path)
    laboratory.deadly.add((ONE, 2))
    points = laboratory.run([ONE, TWO], [1, 2, 4])
    assert laboratory.starts == [ONE, ONE, TWO]
    assert [each.measured is None for each in points] == [False, True, False, False, False, False]
    assert points[1].error == "asr-server ended with status -9 under this load"
    assert "status -9" in (tmp_path / "sweep.csv").read_text()


def test_a_server_that_does_not_start_is_recorded_under_every_load(tmp_path):
    laboratory = Laboratory(tmp_path)
    laboratory.refuse.add(ONE)
    points = laboratory.run([ONE, TWO], [1, 2])
    text = "no start: asr-server ended with status 2; see server.log"
    assert [each.error for each in points[:2]] == [text] * 2
    assert [each.measured is None for each in points] == [True, True, False, False]


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path):
    first = Laboratory(tmp_path)
    first.deadly.add((ONE, 1))
    first.interrupt_at = (TWO, 2)
    with pytest.raises(KeyboardInterrupt):
        first.run([ONE, TWO], [1, 2])
    assert len(read_sweep(tmp_path / "sweep.json").points) == 3

    second = Laboratory(tmp_path)
    points = second.run([ONE, TWO], [1, 2])
    # What was measured is not measured again; what died is tried once more.
    assert set(second.loads) == {(ONE, 1), (TWO, 2)}
    assert {each.key for each in points} == {(s, c) for s in (ONE, TWO) for c in (1, 2)}
    assert all(each.measured for each in points)

    third = Laboratory(tmp_path)
    assert third.run([ONE, TWO], [1, 2]) == points
    assert third.starts == []


def test_a_sweep_under_other_conditions_is_not_gone_on_with(tmp_path):
    Laboratory(tmp_path).run([ONE], [1])
    other = Store(tmp_path, conditions={"clips": "five"}, target=Target())
    with pytest.raises(OtherSweep, match="clips: four there, five here"):
        other.read()


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ("", "Expecting value"),
        ("[]", "not what a sweep writes"),
        ('{"format": 0}', "format 0, this program reads 1"),
        ('{"format": 1, "points": []}', "not what a sweep writes .*conditions"),
        ('{"format": 1, "conditions": {}, "points": [{}]}', "not what a sweep writes"),
    ],
)
def test_another_file_is_said_in_a_line(tmp_path, held, says):
    (tmp_path / "sweep.json").write_text(held)
    with pytest.raises(ValueError, match=says):
        read_sweep(tmp_path / "sweep.json")


def test_wrong_numbers_are_wrong_flags(capsys):
    for flags in (["--concurrency", "0"], ["--slices", "0"], ["--slice-s", "nan"]):
        with pytest.raises(SystemExit) as ended:
            main(flags)
        assert ended.value.code == 2
        assert f"argument {flags[0]}: " in capsys.readouterr().err


def test_another_target_changes_the_recommendation_only(tmp_path):
    Laboratory(tmp_path).run([ONE], [1])
    strict = Store(tmp_path, conditions={"clips": "four"}, target=Target(p95_s=0.01))
    strict.write(strict.read())
    held = json.loads((tmp_path / "sweep.json").read_text())
    assert held["recommendation"]["point"] is None
    assert len(held["points"]) == 1


def test_the_recommended_point_and_the_knees_are_in_the_file(tmp_path):
    (only,) = Laboratory(tmp_path).run([ONE], [4])
    held = json.loads((tmp_path / "sweep.json").read_text())
    assert held["recommendation"]["point"]["concurrency"] == 4
    assert held["recommendation"]["point"]["setting"]["instances"] == 1
    assert held["knees"] == [{"setting": held["points"][0]["setting"], "concurrency": 4}]
    assert only.measured.rtfx == held["points"][0]["measured"]["rtfx"]


def test_slices_are_pooled_call_by_call():
    quiet = a_slice(rtfx=50.0, latencies_s=[0.1] * 19, windows=30, queue_s=0.1)
    busy = a_slice(rtfx=60.0, latencies_s=[1.0], windows=10, queue_s=0.5)
    pooled = pool([quiet, busy], CORPUS, stable=True)
    assert (pooled.calls, pooled.failures, pooled.seconds) == (20, 0, 2.0)
    assert pooled.rtfx == pytest.approx(55.0)
    assert (pooled.p50_s, pooled.p95_s, pooled.p99_s) == (0.1, 0.1, 1.0)
    assert pooled.queue_s == pytest.approx(0.75 * 0.1 + 0.25 * 0.5)
    assert pooled.padding_share == pytest.approx(0.2)
    assert pooled.forwards == {"1": 4, "2": 6, "inf": 0}
    assert pooled.wer == 0.0
    assert pooled.costs.seconds == 4.0
    assert pooled.costs.cpu_s["wav2vec2"] == 1.0


def test_what_is_not_named_is_the_servers_own():
    described = {
        "settings": {
            "instances": 1,
            "max_batch_size": 32,
            "max_queue_delay_us": -1,
            "threads": 0,
            "precision": "auto",
            "device": "auto",
        },
        "gpus": {"indices": [], "names": [], "note": ""},
        "checkpoint": {"id": "demo", "revision": "0.1.0"},
        "config.pbtxt": {
            "transcribe": "instance_group {\n  count: 2\n  kind: KIND_CPU\n}",
            "wav2vec2": "dynamic_batching {\n  max_queue_delay_microseconds: 2000\n}",
        },
    }
    defaults = read_defaults(described)
    assert (defaults.checkpoint, defaults.fronts) == ("demo (0.1.0)", 2)
    planned = plan({"instances": [1, 2], "max_batch_size": [8, 16], "threads": None}, defaults)
    assert planned == [
        setting(instances, max_batch_size=size) for instances in (1, 2) for size in (8, 16)
    ]
    assert planned[0].flags() == [
        "--instances=1",
        "--max-batch-size=8",
        "--max-queue-delay-us=2000",
        "--threads=0",
        "--precision=auto",
        "--device=cpu",
    ]


def test_short_names_say_what_differs():
    assert list(name_apart([setting(1), setting(2)]).values()) == ["1 instance", "2 instances"]
    varied = [setting(4, max_batch_size=size) for size in (8, 32)]
    names = list(name_apart(varied).values())
    assert names == ["4 instances, batch 8", "4 instances, batch 32"]
