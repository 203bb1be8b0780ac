"""The README's blocks run as they stand, with the fake's address for localhost:8001."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import asr_client
from asr_client import testing
from asr_client.testing import FakeServer
from tests.support.recordings import FOLDER

README = Path(__file__).parents[3] / "client_sdk" / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
DOCSTRINGS = [asr_client.__doc__ or "", testing.__doc__ or ""]
PYTHON = re.findall(
    r"^```python\n(.*?)^```$", "\n".join([README.read_text(), *DOCSTRINGS]), re.M | re.S
)
COMMANDS = [
    line
    for language, body in BLOCKS
    if language == "sh"
    for line in body.splitlines()
    if line.startswith("asr ")
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(FOLDER / "cards-003-seven-of-clubs.wav", tmp_path / "recording.wav")
    for name, kind in (
        ("ca.pem", "CERTIFICATE"),
        ("me.pem", "CERTIFICATE"),
        ("me.key", "PRIVATE KEY"),
    ):
        (tmp_path / name).write_text(f"-----BEGIN {kind}-----\n-----END {kind}-----\n")
    (tmp_path / "recordings.jsonl").write_text('{"audio": "recording.wav"}\n')
    return tmp_path


def run(command: list[str], *, folder: Path, stderr: str = "", **env: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(stderr, done.stderr)
    return done.stdout


def test_there_are_blocks() -> None:
    assert len(PYTHON) == 10 + len(DOCSTRINGS)
    assert len(COMMANDS) == 5
    assert {language for language, _ in BLOCKS} == {"python", "sh", "yaml"}


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_run(code: str, server: FakeServer, folder: Path) -> None:
    code = code.replace("localhost:8001", server.url)
    run([sys.executable, "-c", code], folder=folder, ASR_TOKEN="hush")


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line: str, server: FakeServer, folder: Path) -> None:
    words = [
        str(name)
        for word in shlex.split(line.replace("localhost:8001", server.url))
        for name in (sorted(path.name for path in folder.glob(word)) if "*" in word else [word])
    ]
    asr = [sys.executable, "-c", "from asr_client.cli import main; main()"]
    batch = words[1] == "batch"
    run([*asr, *words[1:]], folder=folder, stderr="asr: 1 of 1 lines in .*\n" if batch else "")
    if batch:
        assert '"text": "seven of clubs"' in (folder / "results.jsonl").read_text()
    if "--output-dir" in words:
        assert (folder / "subtitles" / "recording.srt").read_text().startswith("1\n")


def test_the_errors_table_is_the_tree() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE))
    public = {getattr(asr_client, name) for name in asr_client.__all__}
    errors = {
        kind.__name__
        for kind in public
        if isinstance(kind, type) and issubclass(kind, asr_client.AsrError)
    }
    assert rows == errors - {"AsrError"}
