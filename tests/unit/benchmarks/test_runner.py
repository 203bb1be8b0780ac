import csv
import itertools
from pathlib import Path

import pytest

from benchmarks.clips import Clip
from benchmarks.report import draw, markdown, write_csv
from benchmarks.runner import Mix, Plan, Results, measure_together
from tests.support.benchmarks.doubles import FakeSystem

CLIPS = [Clip(wav=bytes([index]), duration_s=1.0) for index in range(4)]
TEXTS = ["one", "two", "three", "four"]


def run(*systems: FakeSystem, folder: Path) -> Results:
    plan = Plan(
        checkpoint=folder,
        mixes=[Mix(name="words", clips=CLIPS, reference=TEXTS)],
        budget_s=0,
        at_once=None,
        log=lambda line: None,
    )
    results = Results()
    measure_together(systems, plan, folder, results)
    assert all(system.stopped for system in systems)
    return results


def test_texts_are_compared_with_the_reference(tmp_path: Path):
    answers = dict(zip((clip.wav for clip in CLIPS), ["one", " two ", "tree", "four"], strict=True))
    (row,) = run(FakeSystem(transcribe=answers.__getitem__), folder=tmp_path).rows
    assert row.equal == 0.75
    assert row.character_errors == pytest.approx(1 / len("onetwothreefour"))
    assert row.padding_waste == pytest.approx(0.25)
    assert row.peak_mib is not None
    assert row.peak_mib > 1


def test_texts_are_compared_with_those_of_one_clip_at_once(tmp_path: Path):
    # The warm-up calls with the shortest and the longest clip come first.
    answers = itertools.chain(TEXTS[:1], TEXTS[3:], TEXTS, ["one", "zwei", "three", "four"])
    system = FakeSystem(at_once=(1, 2), takes_batches=True, transcribe=lambda wav: next(answers))
    alone, together = run(system, folder=tmp_path).rows
    assert (alone.same_as_alone, together.same_as_alone) == (1, 0.75)


def test_a_system_that_cannot_run_is_a_row_and_its_neighbour_runs(tmp_path: Path):
    broken = FakeSystem("broken", cannot_start="not installed: no such wheel")
    results = run(broken, FakeSystem("sound"), folder=tmp_path)
    assert {row.system: row.rtfx is None for row in results.rows} == {
        "broken": True,
        "sound": False,
    }
    page = markdown(results, machine="a machine")
    assert "| broken | 1 | not measured |" in page
    assert "- broken: not installed: no such wheel" in page


def test_a_system_whose_first_call_fails_is_a_row(tmp_path: Path):
    def transcribe(wav: bytes) -> str:
        raise ConnectionError("gone")

    (row,) = run(FakeSystem(transcribe=transcribe), folder=tmp_path).rows
    assert row.note == "its first call failed: ConnectionError: gone"


def test_results_are_written(tmp_path: Path):
    results = run(FakeSystem("one", at_once=(1, 2)), FakeSystem("two"), folder=tmp_path)
    write_csv(results.rows, tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["system"], row["at_once"]) for row in rows] == [
        ("one", "1"),
        ("one", "2"),
        ("two", "1"),
    ]
    assert all(float(row["rtfx"]) > 0 for row in rows)
    draw(results.rows, tmp_path / "rtfx.svg", machine="a machine")
    assert (tmp_path / "rtfx.svg").read_text().startswith("<?xml")
