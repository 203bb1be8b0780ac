"""`python -m load_tests.sweep` on a real server: two loads of a second each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _sweep(output, *flags):
    command = [sys.executable, "-m", "load_tests.sweep", "--output", str(output), *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.mark.server
def test_a_sweep_of_one_instance(tmp_path):
    flags = ["--instances", "1", "--concurrency", "1,4", "--slice-s", "1.5", "--slices", "1"]
    flags += ["--max-slices", "1", "--max-p95-s", "60"]
    flags += ["--live-streams", "2", "--live-s", "4", "--max-interim-p95-s", "60"]
    run = _sweep(tmp_path, *flags)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Run it with 1 instance" in run.stdout
    assert "It holds 2 live streams" in run.stdout
    held = json.loads((tmp_path / "sweep.json").read_text())
    assert [each["concurrency"] for each in held["points"]] == [1, 4]
    one, four = (each["measured"] for each in held["points"])
    for figures in (one, four):
        assert figures["calls"] > 0
        assert figures["failures"] == 0
        assert figures["memory_bytes"] > 100 << 20
        costs = figures["costs"]
        assert costs["calls"] >= figures["calls"]
        # The network's processes work while a forward lasts, and the others as well.
        spent = {kind: s for kind, s in costs["cpu_s"].items() if kind != "others"}
        assert len(spent) == 4
        assert min(spent.values()) > 0
        assert costs["cpu_s"]["wav2vec2"] > costs["cpu_s"]["triton"]
        assert 0 < costs["forward_s"] <= costs["seconds"]
        assert costs["padded_s"] >= costs["audio_s"] > 0
    # Windows of four callers meet in batches; those of one caller only where a clip has two.
    assert four["mean_batch"] > max(1.0, one["mean_batch"])
    assert four["queue_s"] > one["queue_s"]
    assert "<svg" not in (report := (tmp_path / "report.html").read_text())
    assert report.count("data:image/svg+xml;base64,") == 8
    (live,) = (each["measured"] for each in held["live_points"])
    assert (live["words"]["streams"], live["failures"]) == (2, 0)
    assert live["words"]["interims"] > 0
    # The fronts of live audio are counted with the others.
    assert live["costs"]["cpu_s"]["transcribe"] > 0
    assert live["costs"]["audio_s"] > 0

    again = _sweep(tmp_path, *flags)
    assert "3 points are in" in again.stdout
    assert json.loads((tmp_path / "sweep.json").read_text()) == held
