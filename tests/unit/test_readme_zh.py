"""The Chinese README has the commands, outputs, figures and links of the English one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """Commands, Python and outputs, in order."""
    return re.findall(
        r"(?:<!-- not run: [^>]+ -->\n)?^```(sh|python|text)\n(.*?)^```$",
        page,
        re.MULTILINE | re.DOTALL,
    )


def links(page: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", page))


def figures(page: str) -> list[str]:
    """The cells of the table of speeds that hold a number."""
    return re.findall(r"\| (\d+\.\d+(?: s)?) (?=\|)", page)


def test_commands_code_and_outputs_are_the_same():
    assert blocks(CHINESE) == blocks(ENGLISH)
    assert len(blocks(CHINESE)) >= 6


def test_links_are_the_same():
    assert links(CHINESE) - {"README.md"} == links(ENGLISH) - {"README.zh-CN.md"}


def test_figures_are_the_same():
    assert figures(CHINESE) == figures(ENGLISH)
    assert len(figures(CHINESE)) == 12


def test_each_names_the_other():
    assert "](README.md)" in CHINESE
    assert "](README.zh-CN.md)" in ENGLISH
