"""Both distributions build as sdist and wheel, and the client's runs alone on every Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"client_sdk": "asr_client", "python_backend": "asr_backend"}
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
ALL = "ASR_TEST_ALL_PYTHONS"
NO_REGISTRY = re.compile(r"No matching distribution|ConnectionError|connection broken|timed out")

SCRIPT = """
import asyncio, sys
from asr_client import AsyncClient, Client, InvalidAudio
from asr_client.testing import Fault, FakeServer

async def ask(url):
    async with AsyncClient(url) as client:
        return (await client.transcribe(b"fLaC")).text

with FakeServer(text="hello") as server, Client(server.url) as client:
    server.fail(Fault.QUEUE_FULL)
    texts = [client.transcribe(b"fLaC").text, asyncio.run(ask(server.url))]
    texts += [outcome.result().text for outcome in client.transcribe_many([b"fLaC"] * 3)]
    try:
        client.transcribe(b"no audio")
    except InvalidAudio as error:
        texts.append(error.code)
print(*texts, {"torch", "transformers", "opentelemetry"} & sys.modules.keys() or "alone")
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def build(source: Path, target: Path, *kinds: str) -> dict[str, Path]:
    """What hatchling builds of a source tree, by its kind."""
    target.mkdir()
    flags = [part for kind in kinds for part in ("--target", kind)]
    done = run(sys.executable, "-m", "hatchling", "build", "-d", target, *flags, cwd=source)
    assert done.returncode == 0, done.stderr
    suffixes = {"sdist": ".tar.gz", "wheel": ".whl"}
    return {kind: next(target.glob(f"*{suffixes[kind]}")) for kind in kinds}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    return build(ROOT / "client_sdk", folder / "dist", "wheel")["wheel"]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_sdist_holds_all_that_the_wheel_needs(package: str, tmp_path: Path) -> None:
    made = build(ROOT / package, tmp_path / "dist", "sdist", "wheel")
    with tarfile.open(made["sdist"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.name.startswith("asr_"))
    again = build(unpacked, tmp_path / "again", "wheel")["wheel"]
    assert contents(again) == contents(made["wheel"])
    assert f"{PACKAGES[package]}/py.typed" in contents(again)


def interpreter(version: str) -> Path:
    """A Python of that version on this machine; skips where there is none."""
    if version != f"{sys.version_info[0]}.{sys.version_info[1]}" and not os.environ.get(ALL):
        pytest.skip(f"only this Python's version is tested unless {ALL}=1 is set")
    name = f"python{version}"
    found = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}")]
    found += map(Path, filter(None, [shutil.which(name)]))
    for path in found:
        # A shim of pyenv's is there for versions that are not.
        if run(path, "-c", "print('here')", cwd=ROOT).stdout == "here\n":
            return path
    pytest.skip(f"Python {version} is not installed")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_runs_in_an_empty_environment(version: str, wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    made = run(interpreter(version), "-m", "venv", "--without-pip", folder, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    installed = run(*pip, "install", "--quiet", "--no-compile", f"{wheel}[cli]", cwd=tmp_path)
    if installed.returncode and NO_REGISTRY.search(installed.stderr):
        pytest.skip("no package registry can be reached")
    assert installed.returncode == 0, installed.stderr
    done = run(python, "-W", "error", "-c", SCRIPT, cwd=tmp_path)
    words = "hello hello hello hello hello UNSUPPORTED_FORMAT alone\n"
    assert (done.stdout, done.stderr) == (words, "")
    assert "batch" in run(folder / "bin" / "asr", "--help", cwd=tmp_path).stdout
