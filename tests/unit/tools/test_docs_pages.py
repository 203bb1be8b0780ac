"""The documentation builds as a site, strictly, and knows every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import asr_client
from asr_client import testing
from tools import docs_pages

MKDOCS = Path(sys.executable).with_name("mkdocs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: it hides the warnings from --strict as well.
    command = [MKDOCS, "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command, cwd=docs_pages.ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_reference_has_every_public_name(site: Path) -> None:
    pages = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    described = {anchor.split(".")[-1] for anchor in re.findall(r'id="(asr_client[\w.]*)"', pages)}
    assert {*asr_client.__all__, *testing.__all__} <= described
    for kind in (asr_client.Client, asr_client.AsyncClient):
        for method in ("transcribe", "transcribe_many", "is_ready", "status", "close"):
            assert f'id="asr_client.{kind.__name__}.{method}"' in pages


def test_every_page_is_there_with_its_links_to_others(site: Path) -> None:
    assert 'href="client_sdk/index.html"' in (site / "index.html").read_text()
    assert 'href="contract.html#readiness"' in (site / "docs" / "server.html").read_text()
    assert 'href="deploy/index.html"' in (site / "index.html").read_text()
    for name in ("client_sdk/index.html", "docs/contract.html", "examples/index.html"):
        assert (site / name).exists()
    # What a page links to comes along, and nothing is fetched from elsewhere to be shown.
    assert (site / "examples" / "proto" / "kserve.proto").exists()
    for page in site.rglob("*.html"):
        assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="https?:', page.read_text())


def test_all_markdown_of_the_tree_is_a_page(site: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md"],
        cwd=docs_pages.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for name in listed.stdout.split():
        page = name.removeprefix("docs/site/").replace("README.md", "index.md")
        assert (site / page).with_suffix(".html").exists()
