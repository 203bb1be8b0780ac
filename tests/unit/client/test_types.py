"""What mypy and pyright tell a user of the package."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from mypy import api

import asr_client
from asr_client import testing

BASEDPYRIGHT = Path(sys.executable).with_name("basedpyright")

HERE = Path(__file__).parent
STRICT = ["--strict", "--config-file=", "--no-error-summary"]

WRONG = """
from asr_client import Client
client = Client("localhost:8001")
client.transcribe("a.wav", timestamps="sentence")
client.transcribe(["a.wav"])
transcript: str = client.transcribe("a.wav")
client.transcribe("a.wav").text = "other"
client.transcribe("a.wav", 16000)
client.transcribe("a.wav", timestamp="word")
client.transcribe_many(["a.wav"], language=7)
"""
MISTAKES = ["4", "5", "6", "7", "8", "9", "10"]
"""The lines of it."""


def members(kind: type) -> set[str]:
    """Public methods, properties and fields of a class of ours."""
    named = {name for name, _ in inspect.getmembers(kind, is_member) if not name.startswith("_")}
    return named | ({field.name for field in fields(kind)} if is_dataclass(kind) else set())


def is_member(value: object) -> bool:
    return inspect.isfunction(value) or isinstance(value, property)


@pytest.mark.parametrize("module", [asr_client, testing])
def test_the_script_uses_everything(module: object) -> None:
    nodes = list(ast.walk(ast.parse((HERE / "usage.py").read_text(encoding="utf-8"))))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.arg or "" for node in nodes if isinstance(node, ast.keyword)}
    public = {name: getattr(module, name) for name in module.__all__}  # type: ignore[attr-defined]
    wanted = set(public)
    for kind in public.values():
        if isinstance(kind, type):
            wanted |= members(kind)
    assert wanted - used == set()


def test_a_script_that_uses_everything_passes_strict_mypy() -> None:
    output, errors, status = api.run([*STRICT, str(HERE / "usage.py")])
    assert (output, errors, status) == ("", "", 0)


def test_mistakes_are_found() -> None:
    output, _, status = api.run([*STRICT, "-c", WRONG])
    assert status == 1
    found = [line.split(":")[1] for line in output.splitlines() if ": error:" in line]
    # Of a positional argument too many it says two things.
    assert list(dict.fromkeys(found)) == MISTAKES


def pyright(script: Path, folder: Path) -> list[str]:
    """The errors that pyright has in its strict mode."""
    settings = {"include": [str(script)], "typeCheckingMode": "strict", "pythonVersion": "3.10"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [BASEDPYRIGHT, "--outputjson", "--project", folder, "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return [
        f"{problem['range']['start']['line'] + 1}: {problem['message']}"
        for problem in report["generalDiagnostics"]
    ]


def test_a_script_that_uses_everything_passes_strict_pyright(tmp_path: Path) -> None:
    assert pyright(HERE / "usage.py", tmp_path) == []


def test_pyright_finds_mistakes(tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    script.write_text(WRONG)
    assert [problem.split(":")[0] for problem in pyright(script, tmp_path)] == MISTAKES
