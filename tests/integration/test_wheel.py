"""asr-backend's wheel serves and transcribes outside the tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support import recordings
from tests.support.server import reference
from tools.local_server import free_ports

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment that has our two wheels and the other packages of this one.

    Those are reached by a path of their own, behind the environment's: the development
    environment's links into the tree are not followed from there.
    """
    wheels = tmp_path / "wheels"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    for package in ("python_backend", "client_sdk"):
        options = ("--no-deps", "--no-build-isolation", "--wheel-dir", wheels)
        run(*pip, "wheel", *options, ROOT / package, cwd=tmp_path)
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(
        *(*pip, "--python", python, "install", "--no-deps", "--no-index"),
        *sorted(wheels.iterdir()),
        cwd=tmp_path,
    )
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_serves_and_transcribes(environment: Path, tmp_path: Path):
    where = "import asr_backend, asr_client; print(asr_backend.__file__, asr_client.__file__)"
    files = run(environment / "bin" / "python", "-c", where, cwd=tmp_path)
    assert all(file.startswith(str(environment)) for file in files.split())

    grpc_port, metrics_port, health_port = free_ports(3)
    server = subprocess.Popen(
        [
            environment / "bin" / "asr-server",
            f"--grpc-port={grpc_port}",
            f"--metrics-port={metrics_port}",
            f"--health-port={health_port}",
        ],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("asr-server ready: ")
        name = "go-forward-ten-meters.wav"
        command = ("transcribe", recordings.FOLDER / name, f"--url=127.0.0.1:{grpc_port}")
        answer = run(environment / "bin" / "asr", *command, "--format=json", cwd=tmp_path)
    finally:
        server.terminate()
        server.communicate(timeout=90)
    assert server.returncode == 0
    assert json.loads(answer)["text"] == reference.text(recordings.samples(name))
