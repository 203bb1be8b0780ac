"""`python -m load_tests` as `make load` calls it, with a server of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.server
def test_load_on_a_server_of_its_own():
    slo = "failures<=0,p95<60s,batch>1,changed<=5%,memory>0GB"
    flags = ["--users", "8", "--duration-s", "5", "--slo", slo]
    command = [sys.executable, "-m", "load_tests", *flags]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "gates kept" in run.stderr
    assert "batching: yes" in run.stdout
