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
SCRIPTS = ("usage.py", "wrong.py")


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


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("wrong") / "wrong.py"
    script.write_text(WRONG)
    return script


@pytest.fixture(scope="module")
def mypy(wrong: Path) -> dict[str, list[str]]:
    """What mypy says of each script."""
    output, errors, _ = api.run([*STRICT, str(HERE / "usage.py"), str(wrong)])
    assert errors == ""
    found = [line for line in output.splitlines() if "/wrong.py:" in line]
    # What it finds in the package counts against the script that is right.
    return {"wrong.py": found, "usage.py": [o for o in output.splitlines() if o not in found]}


@pytest.fixture(scope="module")
def pyright(wrong: Path) -> dict[str, list[str]]:
    """What pyright finds in each script in its strict mode, as lines and messages."""
    scripts = [str(HERE / "usage.py"), str(wrong)]
    settings = {"include": scripts, "typeCheckingMode": "strict", "pythonVersion": "3.10"}
    (wrong.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [BASEDPYRIGHT, "--outputjson", "--project", wrong.parent]
    done = subprocess.run(
        [*command, "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 2
    found: dict[str, list[str]] = {name: [] for name in SCRIPTS}
    for problem in report["generalDiagnostics"]:
        line = problem["range"]["start"]["line"] + 1
        found[Path(problem["file"]).name].append(f"{line}: {problem['message']}")
    return found


def test_a_script_that_uses_everything_passes_strict_mypy(mypy: dict[str, list[str]]) -> None:
    assert mypy["usage.py"] == []


def test_mypy_finds_mistakes(mypy: dict[str, list[str]]) -> None:
    found = [line.split(":")[1] for line in mypy["wrong.py"] if ": error:" in line]
    # Of a positional argument too many it says two things.
    assert list(dict.fromkeys(found)) == MISTAKES


def test_a_script_that_uses_everything_passes_strict_pyright(
    pyright: dict[str, list[str]],
) -> None:
    assert pyright["usage.py"] == []


def test_pyright_finds_mistakes(pyright: dict[str, list[str]]) -> None:
    assert [problem.split(":")[0] for problem in pyright["wrong.py"]] == MISTAKES
