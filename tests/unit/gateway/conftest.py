from __future__ import annotations

from collections.abc import Iterator

import pytest

from asr_client.testing import FakeServer
from tests.support.gateway.running import RunningGateway, running


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer(text="seven of clubs") as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(
    server: FakeServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway without keys, which the tests of a module share."""
    folder = tmp_path_factory.mktemp("gateway")
    with running(server.url, store=f"sqlite:///{folder}/store.sqlite3") as started:
        yield started
