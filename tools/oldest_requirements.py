"""The requirements of the two environments of `make test-oldest`: the pins, with older versions.

    python -m tools.oldest_requirements torch-2.6 > requirements.txt

`torch-2.6` has the torch of PyTorch's 2.6 image and all else as pinned, as in deploy/Dockerfile.
`lowest` has every dependency of both packages at the minimum that its pyproject.toml declares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
TORCH = "2.6.0"

# Pinned packages that the older ones do not accept: pip takes the newest that they do accept.
FOLLOW_TORCH = {"sympy"}
FOLLOW_THE_LOWEST = FOLLOW_TORCH | {
    "fastapi",
    "import-linter",
    "importlib-metadata",
    "opentelemetry-sdk",
    "opentelemetry-semantic-conventions",
    "protobuf",
    "pydantic-core",
    "starlette",
    "tokenizers",
}


def pins() -> dict[str, str]:
    """The version of each package in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def minimums(package: str) -> dict[str, str]:
    """The declared minimum of each dependency, extras included.

    Args:
        package: the folder of a pyproject.toml.

    Raises:
        ValueError: a dependency has no minimum, as in `name>=1.2`.
    """
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    found = {}
    for requirement in asked:
        match = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement)
        if match is None:
            raise ValueError(f"{package}/pyproject.toml: {requirement!r} declares no minimum")
        found[match[1]] = match[2]
    return found


def requirements(environment: str) -> list[str]:
    """What pip is to install for `torch-2.6` or `lowest`, one requirement a line."""
    if environment == "torch-2.6":
        older, free = {"torch": TORCH}, FOLLOW_TORCH
    else:
        older, free = minimums("python_backend") | minimums("client_sdk"), FOLLOW_THE_LOWEST
    versions = pins() | older
    return [name if name in free else f"{name}=={version}" for name, version in versions.items()]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
