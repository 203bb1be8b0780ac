from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc._channel
import grpc.aio._channel
import pytest

from asr_client import Client
from asr_client.testing import FakeServer
from tests.contract.schemas import RESULT, STREAM_RESULT, closed

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
def client(url: str, results: list[Any]) -> Iterator[Client]:
    with Client(url, timeout_s=60) as opened:
        yield opened


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Every RESULT that the test receives, by whichever client; all are held to the schema."""
    seen: list[dict[str, Any]] = []

    def keep(response: Any) -> Any:
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=False):
            if output.name == "RESULT":
                seen.append(json.loads(raw[4:]))
        return response

    for kind in (grpc._channel.Channel, grpc.aio._channel.Channel):
        monkeypatch.setattr(kind, "unary_unary", _observed(kind.unary_unary, keep))
    yield seen
    schemas = {False: closed(RESULT), True: closed(STREAM_RESULT)}
    errors = [
        error.message
        for result in seen
        for error in schemas["segments" in result].iter_errors(result)
    ]
    assert not errors, errors


def _observed(unary_unary: Any, keep: Callable[[Any], Any]) -> Any:
    """A channel's `unary_unary` whose answers of ModelInfer go through `keep`."""

    def observed(channel: Any, method: str, *args: Any, **settings: Any) -> Any:
        read = settings.get("response_deserializer")
        if method.endswith("/ModelInfer") and read is not None:
            settings["response_deserializer"] = lambda data: keep(read(data))
        return unary_unary(channel, method, *args, **settings)

    return observed
