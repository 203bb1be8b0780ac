"""What a package imports is what its pyproject.toml asks for; what is pinned suits every Python."""

import ast
import importlib.metadata
import itertools
import re
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
# Distributions whose module has another name.
MODULES = {
    "grpcio": "grpc",
    "huggingface-hub": "huggingface_hub",
    "opentelemetry-api": "opentelemetry",
    "ufal-kenlm": "kenlm",
}
# Asked for and not imported: tritonserver's files, and what draws the progress of a download.
NOT_IMPORTED = {"nvidia-pytriton", "tqdm"}
# What tritonserver gives its Python backend.
OF_TRITON = {"triton_python_backend_utils"}


@pytest.mark.parametrize(
    ("package", "module"), [("python_backend", "asr_backend"), ("client_sdk", "asr_client")]
)
def test_imports_are_the_declared_dependencies(package: str, module: str):
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    extras = itertools.chain(*project["optional-dependencies"].values())
    asked = [*project["dependencies"], *extras]
    names = {re.split(r"[^\w-]", line)[0] for line in asked}
    declared = {MODULES.get(name, name) for name in names - NOT_IMPORTED}
    files = (ROOT / package / "src" / module).rglob("*.py")
    imported = {name for file in files for name in imports(file)}
    assert imported - {module} - OF_TRITON - set(sys.stdlib_module_names) == declared


def imports(file: Path) -> set[str]:
    """The first names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


# Those of Ubuntu 22.04, Debian 12 and Ubuntu 24.04.
@pytest.mark.parametrize("python", ["3.10.12", "3.11.2", "3.12.3"])
def test_what_is_pinned_suits_every_python(python: str):
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0] for line in lines if not line.startswith("#")]
    wanted = {name: importlib.metadata.metadata(name).get("Requires-Python") for name in names}
    assert {
        n: spec for n, spec in wanted.items() if not SpecifierSet(spec or "").contains(python)
    } == {}
