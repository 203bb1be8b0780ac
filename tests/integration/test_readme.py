"""The README's blocks run as they stand; what is marked as not run names only what exists."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asr_backend.server.settings import Settings, markdown
from tests.support import recordings
from tools.local_server import LocalServer

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"(<!-- not run: [^>]+ -->\n)?^```(sh|python)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
)
RUN = [(language, body) for mark, language, body in BLOCKS if not mark]
NOT_RUN = [body for mark, _, body in BLOCKS if mark]


def test_there_are_blocks_of_both_kinds():
    assert {language for language, _ in RUN} == {"sh", "python"}
    assert NOT_RUN


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("language", "body"), RUN)
def test_a_block_runs(server: LocalServer, tmp_path: Path, language: str, body: str):
    folder = ROOT if body.startswith("make ") else tmp_path
    shutil.copy(recordings.FOLDER / "go-forward-ten-meters.wav", tmp_path / "recording.wav")
    body = body.replace("localhost:8001", server.url)
    command = ["bash", "-euo", "pipefail", "-c", body]
    if language == "python":
        command = [sys.executable, "-c", body]
    binaries = str(Path(sys.executable).parent)
    done = subprocess.run(
        command,
        cwd=folder,
        # `asr status` asks the health port beside the address: that of the test's server.
        env=os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("body", NOT_RUN)
def test_a_block_that_is_not_run_names_what_exists(body: str):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    flags = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)}
    for line in body.splitlines():
        program, *words = line.split()
        if program == "make":
            assert f"\n{words[0]}:" in makefile
        elif program == ".venv/bin/asr-server":
            assert {word for word in words if word.startswith("--")} <= flags
        else:
            assert (program, words[0]) == ("docker", "compose")
            if "--profile" in words:
                assert f"profiles: [{words[words.index('--profile') + 1]}]" in compose


def test_the_flags_are_those_of_asr_server():
    assert markdown().strip() in README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_a_link_leads_somewhere(target: str):
    assert (ROOT / target).exists()
