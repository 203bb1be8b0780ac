"""The examples for Ray Data and Spark, in local mode, where their packages are installed.

They are heavy, and no part of this environment: `ASR_CLUSTER_PYTHON` names the interpreter of one
that has them and asr-client.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr_client.testing import FakeServer
from tests.support import recordings

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
PYTHON = os.environ.get("ASR_CLUSTER_PYTHON", sys.executable)
README = CLUSTER.parent / "README.md"
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_PYTHON": PYTHON,
}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(("script", "package"), [("ray_data.py", "ray"), ("spark.py", "pyspark")])
def test_a_folder_goes_through_a_set_of_servers(script: str, package: str, tmp_path: Path) -> None:
    if run(PYTHON, "-c", f"import {package}, asr_client", cwd=tmp_path).returncode:
        pytest.skip(f"{package} is not installed; ASR_CLUSTER_PYTHON may name a Python that has it")
    if package == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    folder = tmp_path / "recordings"
    folder.mkdir()
    files = sorted(recordings.FOLDER.glob("*.wav"))
    for file in files:
        shutil.copy(file, folder)
    (folder / "none.wav").write_text("no audio")
    with FakeServer() as one, FakeServer() as other:
        for file in files:
            for server in (one, other):
                server.answer(file, f"words of {file.name}")
        urls = [f"--url={server.url}" for server in (one, other)]
        output = tmp_path / "results"
        done = run(PYTHON, CLUSTER / script, folder, f"--output={output}", *urls, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert min(len(one.requests), len(other.requests)) > 0
    lines = [line for part in output.glob("*.json") for line in part.read_text().splitlines()]
    rows = {Path(row["path"]).name: row for row in map(json.loads, lines)}
    assert len(lines) == len(rows) == len(files) + 1
    for file in files:
        assert rows[file.name]["text"] == f"words of {file.name}"
        assert rows[file.name]["duration_s"] > 1
        assert not rows[file.name].get("error")
    assert rows["none.wav"]["error"] == "the audio format is not supported"


def test_the_examples_are_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for script in CLUSTER.glob("*.py"):
        assert f"`cluster/{script.name}`" in text
