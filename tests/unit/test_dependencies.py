"""What a package imports is what its pyproject.toml asks for; what is pinned suits every Python."""

import ast
import importlib.metadata
import itertools
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tools import oldest_requirements

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
# Distributions whose module has another name.
MODULES = {
    "fastapi-offline": "fastapi_offline",
    "grpcio": "grpc",
    "huggingface-hub": "huggingface_hub",
    "opentelemetry-api": "opentelemetry",
    "asr-client": "asr_client",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
    "typing-extensions": "typing_extensions",
    "ufal-kenlm": "kenlm",
}
# Asked for and not imported: tritonserver's files, what draws the progress of a download, and what
# SQLAlchemy calls PostgreSQL with.
NOT_IMPORTED = {"nvidia-pytriton", "psycopg", "tqdm"}
# What tritonserver gives its Python backend.
OF_TRITON = {"triton_python_backend_utils"}


@pytest.mark.parametrize(
    ("package", "module"),
    [("python_backend", "asr_backend"), ("client_sdk", "asr_client"), ("gateway", "asr_gateway")],
)
def test_imports_are_the_declared_dependencies(package: str, module: str):
    names = {Requirement(line).name for line in declared(package)}
    wanted = {MODULES.get(name, name) for name in names - NOT_IMPORTED}
    files = (ROOT / package / "src" / module).rglob("*.py")
    imported = {name for file in files for name in imports(file)}
    assert imported - {module} - OF_TRITON - set(sys.stdlib_module_names) == wanted


def test_nobody_is_sent_to_a_registry_for_these_packages() -> None:
    """None of them is there, so anybody could take the name."""
    name = re.compile(r"asr[-_](client|backend|gateway)(\[|'|\"|$)")
    wrong = [
        f"{file.relative_to(ROOT)}: {line}"
        for pattern in ("*/src/**/*.py", "docs/**/*.md", "*/README.md", "README*.md", "deploy/**/*")
        for file in ROOT.glob(pattern)
        if file.is_file()
        for line in file.read_text(encoding="utf-8").splitlines()
        if "pip install" in line and any(map(name.match, line.replace("'", " ").split()))
    ]
    assert wrong == []


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


PACKAGES = ("python_backend", "client_sdk")
# Of asr-gateway the pins alone are tested: its oldest FastAPI does not accept the oldest pydantic.


@pytest.mark.parametrize("package", PACKAGES)
def test_the_oldest_environment_has_every_declared_minimum(package: str):
    installed = oldest_requirements.requirements("lowest")
    minimums = oldest_requirements.minimums(package)
    assert minimums.keys() == {Requirement(line).name for line in declared(package)}
    assert [name for name, lowest in minimums.items() if f"{name}=={lowest}" not in installed] == []


@pytest.mark.parametrize("package", [*PACKAGES, "gateway"])
def test_what_is_pinned_is_what_the_package_accepts(package: str):
    pins = {"asr-client": asr_client_version(), **oldest_requirements.pins()}
    refused = [
        f"{requirement}, pinned {pins[requirement.name]}"
        for requirement in map(Requirement, declared(package))
        if not requirement.specifier.contains(pins[requirement.name])
    ]
    assert refused == []


def test_a_dependency_without_a_minimum_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy"]\n[project.optional-dependencies]\n'
    )
    monkeypatch.setattr(oldest_requirements, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="'numpy' declares no minimum"):
        oldest_requirements.minimums(".")


def test_the_environment_with_torch_2_6_is_as_its_image_is():
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    (torch,) = re.findall(r"^FROM pytorch/pytorch:([\d.]+)-", dockerfile, re.MULTILINE)
    (unpinned,) = re.findall(r"grep -vE '\^\(([\w|]+)\)==' /requirements.txt", dockerfile)
    pinned = {f"{name}=={version}" for name, version in oldest_requirements.pins().items()}
    older = set(oldest_requirements.requirements("torch-2.6"))
    assert older - pinned == {f"torch=={torch}", "sympy"}
    assert {line.partition("==")[0] for line in pinned - older} == set(unpinned.split("|"))


def asr_client_version() -> str:
    project = tomllib.loads((ROOT / "client_sdk" / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def declared(package: str) -> list[str]:
    """The dependencies of a package and of its extras, as its pyproject.toml has them."""
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {})
    return [*project["dependencies"], *itertools.chain(*extras.values())]
