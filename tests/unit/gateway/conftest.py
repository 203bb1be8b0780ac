from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_client.testing import FakeServer
from tests.support.gateway.running import RunningGateway, running


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The store of a gateway that names none is not the one of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(text="seven of clubs") as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(server: FakeServer) -> Iterator[RunningGateway]:
    """A gateway without keys, which the tests of a module share."""
    with running(server.url) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The default store lies in the home folder: no test opens that of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield
