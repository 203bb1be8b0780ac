"""`python -m load_tests` as `make load` calls it, with a server of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.local_server import LocalServer

ROOT = Path(__file__).parents[2]


@pytest.mark.server
def test_load_on_a_server_of_its_own():
    slo = "failures<=0,p95<60s,batch>1,changed<=5%,memory>0GB"
    flags = ["--users", "8", "--duration-s", "4", "--slo", slo]
    command = [sys.executable, "-m", "load_tests", *flags]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "gates kept" in run.stderr
    assert "batching: yes" in run.stdout


@pytest.mark.server
def test_both_sides_of_an_abusive_open_loop_agree(server: LocalServer, tmp_path: Path):
    output = tmp_path / "run.json"
    command = [
        *(sys.executable, "-m", "load_tests", "--url", server.url, "--scenario", "abusive"),
        *("--metrics-url", server.metrics_url, "--server-pid", str(server.process.pid)),
        *("--arrivals", "poisson:6", "--duration-s", "4", "--output", str(output)),
        *("--slo", "failures<=0,changed<=5%"),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    written = json.loads(output.read_text())
    refused, figures = written["refused"], written["figures"]
    assert refused > 0
    # Each call is in the counts of both.
    assert sum(figures["server"]["errors"].values()) == refused
    answered = figures["requests"] - refused
    assert figures["server"]["wav2vec2"]["requests"] >= answered > 0
    assert figures["server"]["audio_s"] > 0
    assert figures["server"]["cpu_s"] > 0


@pytest.mark.server
def test_live_streams_beside_files_keep_their_finals(server: LocalServer, tmp_path: Path):
    output = tmp_path / "run.json"
    command = [
        *(sys.executable, "-m", "load_tests", "--url", server.url, "--scenario", "live-files"),
        *("--users", "4", "--duration-s", "2", "--output", str(output)),
        # Nothing that load makes later or rarer may change a final.
        *("--slo", "failures<=0,changed<=0,interim<60s,final<60s,flicker<90%"),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    written = json.loads(output.read_text())
    live = written["figures"]["live"]
    assert live["streams"] >= 1
    assert live["interims"] > 0
    assert live["skipped"] == 0
    rows = {row["what"]: row["live"] for row in written["rows"]}
    assert rows.get("talks", live) == live
    assert rows.get("commands") is None
