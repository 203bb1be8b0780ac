"""An environment for a machine without a package registry: wheels, this tree, what is there."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

from tools import bare_environment, gpu_wheels

ROOT = Path(__file__).resolve().parents[2]


def test_an_environment_from_wheels(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "only_here-1.0-py3-none-any.whl", "w", zipfile.ZIP_LZMA) as wheel:
        wheel.writestr("only_here.py", "ANSWER = 42\n")
        folder = "only_here-1.0.dist-info"
        wheel.writestr(
            f"{folder}/METADATA", "Metadata-Version: 2.1\nName: only-here\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{folder}/RECORD", "")
    python = bare_environment.make(wheels, tmp_path / "environment")
    script = "import only_here, torch, asr_backend, asr_client; print(asr_backend.__file__)"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(ROOT))
    server = python.with_name("asr-server")
    python = bare_environment.make(wheels, tmp_path / "other", without="only_here")
    assert subprocess.run([python, "-c", "import only_here"], capture_output=True).returncode == 1
    done = subprocess.run([server, "--help"], capture_output=True, text=True, check=True)
    assert "--precision" in done.stdout


def test_every_wheel_has_a_pinned_version() -> None:
    pins = gpu_wheels.pinned((ROOT / "requirements.txt").read_text())
    assert {*gpu_wheels.LARGE, *gpu_wheels.SMALL} <= pins.keys()
    # What the server's numpy must be.
    assert pins["numpy"].startswith("1.")


def test_a_wheel_is_packed_anew_without_other_pythons(tmp_path: Path) -> None:
    old, new = tmp_path / "old.whl", tmp_path / "new.whl"
    stub = "pytriton/tritonserver/python_backend_stubs/{}/stub"
    with zipfile.ZipFile(old, "w") as wheel:
        for name in ("pytriton/__init__.py", stub.format("3.11"), stub.format("3.12")):
            wheel.writestr(name, name * 1_000)
    gpu_wheels.repack(old, new, "3.12")
    with zipfile.ZipFile(new) as wheel:
        assert wheel.namelist() == ["pytriton/__init__.py", stub.format("3.12")]
        assert wheel.read(stub.format("3.12")).decode() == stub.format("3.12") * 1_000
    assert new.stat().st_size < old.stat().st_size
