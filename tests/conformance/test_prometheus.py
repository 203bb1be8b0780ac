"""Prometheus's own tools on the rules: Debian's packages prometheus and prometheus-alertmanager."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"

pytestmark = pytest.mark.conformance


def run(program: str, *arguments: object) -> str:
    path = shutil.which(program)
    assert path is not None, "apt-get install prometheus prometheus-alertmanager"
    done = subprocess.run(
        [path, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration_and_the_rules():
    out = run("promtool", "check", "config", MONITORING / "prometheus" / "prometheus.yml")
    for path in (MONITORING / "prometheus" / "rules").glob("*.yml"):
        assert path.name in out


@pytest.mark.parametrize(
    "case", sorted((MONITORING / "prometheus" / "tests").glob("*.yml")), ids=lambda path: path.stem
)
def test_the_alerts_of_a_recording(case: Path):
    assert "SUCCESS" in run("promtool", "test", "rules", case)


def test_alertmanager_takes_its_example():
    assert "SUCCESS" in run(
        "amtool", "check-config", MONITORING / "alertmanager" / "alertmanager.yml"
    )
