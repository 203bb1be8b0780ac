from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_client.testing import FakeServer
from tests.support.gateway.running import RunningGateway, running
from tools.postgresql import PostgreSql, postgresql


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


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSql]:
    with postgresql() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite3"
    server: PostgreSql = request.getfixturevalue("postgresql_server")
    return server.new_database()
