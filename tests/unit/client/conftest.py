from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_client import AsyncClient, Client
from asr_client.testing import FakeServer
from tests.support.client.batch_job import Job
from tests.support.client.driver import Driver
from tests.support.client.many import Many


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(text="seven of clubs") as running:
        yield running


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    made = Driver(request.param)
    yield made
    made.close()


@pytest.fixture
def client(driver: Driver, server: FakeServer) -> Any:
    return driver.open(server.url)


@pytest.fixture
def many(driver: Driver, server: FakeServer) -> Many:
    return Many(driver, server.url)


@pytest.fixture
def job(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    monkeypatch.delenv("ASR_URL", raising=False)
    job = Job(tmp_path, server)
    yield job
    job.end()
