"""The guard library itself; tests/integration/test_guard.py has its effects."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr_backend.server import cli
from asr_backend.server.prepare import guard, tritonserver
from tests.support.commands import FREE
from tests.unit.server.prepare.test_tritonserver import image
from tools import build_native

LIBRARY = guard.FOLDER / guard.LIBRARY


def symbols(library: Path) -> dict[str, bool]:
    """Whether the library has each function that its sources define for others."""
    loaded = ctypes.CDLL(str(library))
    code = "".join(file.read_text() for file in build_native.GUARD.sources())
    names = [
        line.split("(")[0].split()[-1].strip("*")
        for line in code.splitlines()
        if line.startswith("EXPORT ") and "(" in line
    ]
    assert len(names) > 15
    return {name: hasattr(loaded, name) for name in names}


def says(library: Path) -> str:
    """The hash of its sources that the library contains."""
    loaded = ctypes.CDLL(str(library))
    return (ctypes.c_char * 64).in_dll(loaded, "asr_tritonserver_guard_sources").value.decode()


def test_the_library_is_that_of_the_sources_beside_it():
    assert build_native.GUARD.library == LIBRARY
    assert says(LIBRARY) == build_native.GUARD.sources_hash()
    assert all(symbols(LIBRARY).values())
    assert LIBRARY.stat().st_size < 32_000


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_its_sources_compile_without_a_warning(tmp_path):
    build_native.GUARD.build(["cc"], tmp_path / "built.so")
    assert all(symbols(tmp_path / "built.so").values())
    assert says(tmp_path / "built.so") == build_native.GUARD.sources_hash()


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None,
    reason="needs ziglang, 80 MB that nothing else needs: pip install ziglang==0.13.0",
)
def test_the_same_compiler_makes_the_same_bytes(tmp_path):
    build_native.GUARD.build(build_native.zig(), tmp_path / "built.so")
    assert (tmp_path / "built.so").read_bytes() == LIBRARY.read_bytes()


def test_it_leaves_other_programs_alone_and_its_children_without_it(tmp_path):
    """A path with spaces, threads, a child, and a person's own library behind it."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(LIBRARY, folder)
    other = folder / "libother.so"
    shutil.copy(LIBRARY, other)
    program = (
        "import json, os, subprocess, sys, threading\n"
        "thread = threading.Thread(target=print, args=('{}',)); thread.start(); thread.join()\n"
        "child = [sys.executable, '-c', 'import os; print(os.environ.get(\"LD_PRELOAD\"))']\n"
        "print(json.dumps([open('/proc/self/maps').read().count('libasr_tritonserver_guard'),\n"
        "                  subprocess.run(child, capture_output=True, text=True).stdout.strip()]))"
    )
    for theirs, left in (("", "None"), ("libother.so", "libother.so")):
        env = {
            **os.environ,
            "LD_PRELOAD": ":".join(filter(None, (guard.LIBRARY, theirs))),
            "LD_LIBRARY_PATH": str(folder),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
        )
        nothing, answer = done.stdout.splitlines()
        assert nothing == "{}"
        loaded, childs = json.loads(answer)
        assert loaded > 0
        assert childs == left
        assert done.stderr == ""


def environment(server: tritonserver.Triton) -> dict[str, str]:
    return tritonserver.environment(server, {"PATH": "/bin", "LD_PRELOAD": "theirs.so"})


def test_it_is_preloaded_into_the_wheel_s_triton_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(tritonserver, "NGC_ROOT", tmp_path / "none")
    wheel = tritonserver.find("")
    env = environment(wheel)
    assert env["LD_PRELOAD"] == f"{guard.LIBRARY}:theirs.so"
    assert str(guard.FOLDER) in env["LD_LIBRARY_PATH"].split(os.pathsep)

    for release, from_wheel in (((26, 7), False), ((24, 10), False), (None, False), (None, True)):
        other = tritonserver.Triton(
            root=wheel.root,
            stub=wheel.stub,
            library_dirs=wheel.library_dirs,
            release=release,
            from_wheel=from_wheel,
        )
        assert environment(other)["LD_PRELOAD"] == "theirs.so"


def test_a_library_that_does_not_load_is_one_warning(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tritonserver, "NGC_ROOT", tmp_path / "none")
    monkeypatch.setattr(cli.Supervisor, "run", lambda self: 0)
    (tmp_path / guard.LIBRARY).write_bytes(b"not a library")
    monkeypatch.setattr(guard, "FOLDER", tmp_path)
    guard.problem.cache_clear()
    try:
        assert environment(tritonserver.find(""))["LD_PRELOAD"] == "theirs.so"
        assert cli.main([*FREE, "--device=cpu"]) == 0
    finally:
        guard.problem.cache_clear()
    said = [line for line in capsys.readouterr().err.splitlines() if "guard" in line]
    assert len(said) == 1
    assert "warning: tritonserver runs without a guard" in said[0]


@pytest.mark.parametrize(("release", "warns"), [("25.06", True), ("25.07", False)])
def test_an_image_without_the_check_is_one_too(capsys, monkeypatch, tmp_path, release, warns):
    monkeypatch.setattr(tritonserver, "NGC_ROOT", image(tmp_path / "image"))
    monkeypatch.setenv("NVIDIA_TRITON_SERVER_VERSION", release)
    monkeypatch.setattr(cli.Supervisor, "run", lambda self: 0)
    assert cli.main([*FREE, "--device=cpu"]) == 0
    assert ("without a guard" in capsys.readouterr().err) is warns


def test_no_warning_where_it_loads(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tritonserver, "NGC_ROOT", tmp_path / "none")
    monkeypatch.setattr(cli.Supervisor, "run", lambda self: 0)
    assert cli.main([*FREE, "--device=cpu"]) == 0
    assert "guard" not in capsys.readouterr().err
