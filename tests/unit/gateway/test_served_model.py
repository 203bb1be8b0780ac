"""What the gateway learns of asr-server, and when it asks again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import asr_client
from asr_client import AsyncClient
from asr_client.testing import FakeServer
from asr_gateway import served_model
from asr_gateway.served_model import ServedModel
from tests.support.gateway.running import RunningGateway, running, uploads

NEW = {"model_id": "new", "model_revision": "2", "fingerprint": "g", "decoders": "greedy,beam"}


@asynccontextmanager
async def served(server: FakeServer, language: str = "en-US") -> AsyncIterator[ServedModel]:
    async with AsyncClient(server.url, timeout_s=5) as client:
        yield ServedModel(client, own_language=language)


def transcribe(gateway: RunningGateway, **fields: str):
    return gateway.http.post(
        "/v1/audio/transcriptions",
        files={"file": b"OggS"},
        data={"model": "whisper-1", **fields},
    )


async def test_a_known_model_is_asked_for_once_a_second(monkeypatch: pytest.MonkeyPatch):
    with FakeServer() as server:
        async with served(server) as model:
            assert (await model.info()).model_id == "fake"
            server.parameters = NEW
            assert (await model.info()).model_id == "fake"
            monkeypatch.setattr(served_model, "MAX_AGE_S", 0.0)
            assert (await model.info()).model_id == "new"
        assert server.requests == ()


async def test_an_answer_of_another_model_is_reason_to_ask():
    with FakeServer() as server:
        async with served(server) as model:
            await model.info()
            server.parameters = NEW
            model.saw(asr_client.ModelInfo(id="new", revision="2", fingerprint="g"))
            assert (await model.info()).model_id == "new"


async def test_the_fingerprint_is_of_this_moment():
    with FakeServer() as server:
        async with served(server) as model:
            assert await model.fingerprint() == "fake"
            server.parameters = NEW
            assert await model.fingerprint() == "g"
            server.stop()
            assert await model.fingerprint() is None


async def test_the_last_word_counts_while_the_server_is_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(served_model, "MAX_AGE_S", 0.0)
    with FakeServer() as server:
        async with served(server) as model:
            await model.info()
            server.stop()
            assert (await model.info()).model_id == "fake"
        async with served(server) as model:
            with pytest.raises(asr_client.ServerUnavailable):
                await model.info()


async def test_an_older_server_names_its_model_in_one_answer_to_silence(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(served_model, "MAX_AGE_S", 0.0)
    with FakeServer() as server:
        server.parameters = {}
        async with served(server) as model:
            found = [await model.info() for _ in range(3)]
            assert {(info.model_id, info.model_revision) for info in found} == {("fake", "1")}
            assert len(server.requests) == 1
            server.parameters = NEW
            assert (await model.info()).model_id == "new"


async def test_a_default_language_that_the_flag_contradicts_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(served_model, "MAX_AGE_S", 0.0)
    with FakeServer() as server, caplog.at_level(logging.WARNING, "asr_gateway"):
        server.parameters["languages"] = "fra,eng"
        async with served(server) as model:
            for _ in range(3):
                await model.info()
    assert [r.message for r in caplog.records if "'fra'" in r.message] == [
        "--language en-US: asr-server's default is 'fra'; requests without a language are answered "
        "in that"
    ]


def test_requests_follow_what_the_server_says():
    with FakeServer() as server:
        server.parameters |= {"languages": "eng,deu", "language_model": "four.arpa"}
        with running(server.url) as gateway:
            for fields in ({}, {"language": "de"}):
                assert transcribe(gateway, **fields).status_code == 200
            names = [model["id"] for model in gateway.http.get("/v1/models").json()["data"]]
        assert names == ["fake", "whisper-1"]
        first, second = [request.options for request in uploads(server)]
        assert b'"beam"' in first
        assert b'"greedy"' in second
        assert b'"deu"' in second


def test_before_the_server_ever_answered_requests_are_a_503():
    with FakeServer() as server:
        pass
    with running(server.url) as gateway:
        answer = transcribe(gateway)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_callers_share_one_question():
    async def ask() -> int:
        with FakeServer() as server:
            async with AsyncClient(server.url) as client:
                model = ServedModel(client, own_language="en")
                asked = []
                question = client.info

                async def counted(**fields: float) -> asr_client.ServerInfo:
                    asked.append(1)
                    return await question(**fields)

                client.info = counted  # type: ignore[assignment, method-assign]
                await asyncio.gather(*(model.info() for _ in range(50)))
                return len(asked)

    assert asyncio.run(ask()) == 1


def test_callers_share_one_failure():
    """Each waiting for its own, one after the other, took minutes where the server hung."""

    async def ask() -> int:
        async with AsyncClient("localhost:1") as client:
            model = ServedModel(client, own_language="en")
            asked = []

            async def hangs(**_: float) -> asr_client.ServerInfo:
                asked.append(1)
                await asyncio.sleep(0.01)
                raise asr_client.ServerUnavailable(status="UNAVAILABLE")

            client.info = hangs  # type: ignore[assignment, method-assign]
            for _ in range(2):
                failures = await asyncio.gather(
                    *(model.info() for _ in range(50)), return_exceptions=True
                )
                assert {type(failure) for failure in failures} == {asr_client.ServerUnavailable}
            return len(asked)

    assert asyncio.run(ask()) == 2
