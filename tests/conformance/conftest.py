"""The gateway in front of the fake server, and Chromium."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from asr_client.testing import FakeServer
from tests.conformance import environment
from tests.support.gateway.running import RunningGateway, running

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A word that is clicked is played; nobody hears it.
    "--mute-audio",
)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer(text="seven of clubs") as started:
        yield started


@pytest.fixture
def gateway(fake: FakeServer) -> Iterator[RunningGateway]:
    with running(fake.url) as started:
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright, with a new and empty profile.

    Not for the session: while playwright is there, an event loop counts as running in this thread.
    """
    assert shutil.which(CHROMIUM), "Chromium is missing: apt-get install chromium"
    sys.path.append(str(environment.browser_packages()))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, gateway: RunningGateway) -> Iterator[Any]:
    """A tab that has nothing of other tests, without a document yet.

    It fails the test whose page asks another host, breaks its own policy or throws.
    """
    context = chromium.new_context(base_url=gateway.url, accept_downloads=True)
    context.set_default_timeout(30_000)
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda line: wrong.append(line.text) if "Policy" in line.text else None)
    tab.on("request", lambda request: _note_foreign(request.url, gateway.url, wrong))
    yield tab
    context.close()
    assert wrong == []


def _note_foreign(url: str, own: str, wrong: list[str]) -> None:
    if not url.startswith((f"{own}/", f"blob:{own}/", "data:")):
        wrong.append(f"asked for {url}")
