"""The pages' blocks run as they stand; what is marked as not run names only what exists."""

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
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        *("README.md", "docs/server.md", "docs/security.md", "docs/contract.md"),
        *("docs/contributing.md", "python_backend/README.md"),
    )
}
BLOCKS = [
    (name, *block)
    for name, page in PAGES.items()
    for block in re.findall(
        r"(<!-- not run: [^>]+ -->\n)?^```(sh|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
]
RUN = [(name, language, body) for name, mark, language, body in BLOCKS if not mark]
NOT_RUN = [body for _, mark, _, body in BLOCKS if mark]
LINKS = sorted(
    {
        (name, target)
        for name, page in PAGES.items()
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page)
    }
)


def test_there_are_blocks_of_both_kinds():
    assert {language for name, language, _ in RUN if name == "README.md"} == {"sh", "python"}
    assert NOT_RUN


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 130


def test_the_output_shown_is_real(server: LocalServer):
    block = re.findall(r"```text\n\$ asr (.*?)```", PAGES["README.md"], re.DOTALL)[0]
    command, *shown = block.splitlines()
    asr = Path(sys.executable).with_name("asr")
    done = subprocess.run(
        [asr, *command.split(), "--url", server.url],
        cwd=recordings.FOLDER,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines == shown[: len(lines)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("page", "language", "body"), RUN)
def test_a_block_runs(server: LocalServer, tmp_path: Path, page: str, language: str, body: str):
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
    flags = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Settings)}
    for line in body.splitlines():
        program, *words = line.split("#")[0].split()
        if program == "make":
            assert f"\n{words[0]}:" in makefile
        elif program.endswith("asr-server"):
            assert {word for word in words if word.startswith("--")} <= flags
        elif program == ".venv/bin/python":
            assert words[:2] in (["-m", "pytest"], ["-m", "pip"])
            paths = [word.split("::")[0] for word in words[3:] or words[2:] if word[0] != "-"]
            assert {ROOT / path for path in paths if path != "dist"}
            assert all((ROOT / path).exists() for path in paths if path != "dist"), line
        else:
            assert (program, words[0]) == ("pip", "install")


def test_the_flags_are_those_of_asr_server():
    assert markdown().strip() in PAGES["docs/server.md"]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_a_link_leads_somewhere(page: str, target: str):
    assert (ROOT / page).parent.joinpath(target).exists()


def test_the_map_names_what_exists():
    page = PAGES["docs/contributing.md"]
    answers = re.findall(r"^\| Where .*\| (.*) \|$", page, re.MULTILINE)
    assert len(answers) > 6
    for answer in answers:
        for path in re.findall(
            r"`((?:python_backend|client_sdk|model_repository)/[\w/.]+)`", answer
        ):
            assert (ROOT / path).exists(), path
        for name, path in re.findall(r"`(\w+)` in `([\w/.]+)`", answer):
            files = [ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py")
            assert any(re.search(rf"(def|class) {name}\b", f.read_text()) for f in files), name
