"""`make gpu` on the CPU, at tiny sizes: everything but the kernels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from benchmarks.gpu.__main__ import BUDGETS_S, main, markdown, table
from benchmarks.gpu.engine import finish, measure
from benchmarks.gpu.part import Part
from benchmarks.gpu.profile import span_and_busy_us, summarize

PARTS = ("engine-fp16", "engine-fp32", "invariance", "profile", "service-1")


def test_all_parts_end_within_eight_minutes() -> None:
    assert sum(BUDGETS_S.values()) <= 480


@pytest.mark.server
def test_a_run_and_a_part_that_fails_alone(tmp_path: Path) -> None:
    arguments = ["--device=cpu", f"--output={tmp_path}", "--budget-s=engine-fp16=0.3"]
    assert main([*arguments, "--parts", *PARTS]) == 1
    results = json.loads((tmp_path / "report.json").read_text())
    report = (tmp_path / "report.md").read_text()
    failures = {name: result["failure"] for name, result in results.items()}
    assert failures == dict.fromkeys(PARTS, "") | {"engine-fp16": "not done within 0.3 s"}
    assert "| FAILED: not done within 0.3 s |" in report
    assert all(row["audio a second"] > 1 for row in results["engine-fp32"]["rows"])
    assert [row["within"] for row in results["invariance"]["rows"]] == ["yes"] * 3
    assert "the CPU waits for the device: never" in report
    offline, *service = results["service-1"]["rows"]
    assert offline["system"] == "engine alone"
    assert [row["failed"] for row in service] == [0, 0, 0]
    assert all(row["calls"] >= row["callers"] and row["p95 ms"] > 0 for row in service)


def test_a_part_that_breaks_keeps_what_it_found_and_says_why(tmp_path: Path) -> None:
    # Without a GPU, at once.
    assert main(["--parts", "compiled", "--device=cuda", f"--output={tmp_path}"]) in (0, 1)
    result = json.loads((tmp_path / "report.json").read_text())["compiled"]
    assert result["failure"] or result["rows"]


class Engine:
    """Fails in its own way for each number of windows."""

    name = "an engine"

    def __init__(self, errors: dict[int, Exception]) -> None:
        self.errors = errors
        self.checkpoint = load_checkpoint(demo_checkpoint())

    def forward(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        if error := self.errors.get(len(windows)):
            raise error
        return [np.zeros((1, 32), np.float32) for _ in windows]


def test_a_size_that_fails_is_a_row_and_the_part_s_failure(tmp_path: Path) -> None:
    part = Part(device="cpu", file=tmp_path / "part.json")
    engine = Engine({2: MemoryError("no"), 3: RuntimeError("too large\nfor this library")})
    for count in (1, 2):
        measure(part, engine, 0.5, count * 0.5)  # type: ignore[arg-type]
    finish(part)
    measure(part, engine, 0.5, 1.5)  # type: ignore[arg-type]
    outcomes = [row["outcome"] for row in part.rows]
    assert outcomes == ["done", "out of memory", "FAILED: too large"]
    with pytest.raises(SystemExit, match="1 of 3 kinds of forward failed"):
        finish(part)


def test_a_profile_in_numbers(tmp_path: Path) -> None:
    events = [
        {"cat": "kernel", "name": "gemm", "ts": 0.0, "dur": 60.0},
        {"cat": "kernel", "name": "copy", "ts": 50.0, "dur": 2.0},
        {"cat": "kernel", "name": "gemm", "ts": 80.0, "dur": 20.0},
        {"cat": "cuda_runtime", "name": "cudaStreamSynchronize", "ts": 0.0, "dur": 100.0},
    ]
    part = Part(device="cuda", file=tmp_path / "part.json")
    summarize(part, events)
    assert part.notes == [
        "- 3 operations on the device within 0.10 ms, which was idle for 20.0% of that time",
        "- 1 of them take less than 5 us, 0.00 ms in all",
        "- the CPU waits for the device: cudaStreamSynchronize 1 times",
    ]
    assert part.rows[0] == {"operation": "gemm", "calls": 2, "ms": 0.08, "share": "97.6%"}
    assert json.loads(part.file.read_text())["rows"] == part.rows
    assert span_and_busy_us([(5, 6), (1, 3), (2, 4)]) == (5, 4)


def test_rows_need_not_have_the_same_columns() -> None:
    assert table([{"a": 1.23456, "b": "x|y"}, {"c": 2000.4}]) == [
        "| a | b | c |",
        "|---|---|---|",
        "| 1.23 | x\\|y |  |",
        "|  |  | 2000 |",
    ]
    result = {"rows": [], "notes": ["a note"], "failure": "no GPU", "took_s": 1.5}
    assert markdown({"machine": result}, "cuda").splitlines()[4] == (
        "| machine | 1.5 | FAILED: no GPU |"
    )
