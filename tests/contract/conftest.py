from __future__ import annotations

from collections.abc import Iterator

import pytest

from asr_client import Client
from asr_client.testing import FakeServer

TEXT = "ten of clubs"


@pytest.fixture(scope="session", params=["fake", pytest.param("real", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """HOST:PORT of the fake, then of the real server."""
    if request.param == "real":
        yield request.getfixturevalue("server_url")
    else:
        with FakeServer(text=TEXT) as server:
            yield server.url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, timeout_s=60) as opened:
        yield opened
