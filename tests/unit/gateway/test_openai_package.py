"""The unmodified `openai` package against the gateway, sync and async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from asr_client.testing import FakeServer, Fault
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running, uploads
from tests.support.recordings import FOLDER

PATH = FOLDER / "cards-001-ten-of-clubs.wav"


class Caller:
    """One of the package's two clients; results of coroutines are awaited."""

    def __init__(self, kind: type, url: str, **more: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self.client = kind(base_url=f"{url}/v1", api_key="any", **{"max_retries": 0, **more})

    def run(self, result: Any) -> Any:
        return self._loop.run_until_complete(result) if asyncio.iscoroutine(result) else result

    def create(self, **fields: Any) -> Any:
        fields = {"model": "whisper-1", "file": PATH, **fields}
        return self.run(self.client.audio.transcriptions.create(**fields))

    def events(self, **fields: Any) -> list[Any]:
        stream = self.create(stream=True, **fields)
        if hasattr(stream, "__aiter__"):

            async def collect() -> list[Any]:
                return [event async for event in stream]

            return list(self.run(collect()))
        return list(stream)

    def close(self) -> None:
        self.run(self.client.close())
        self._loop.close()


@pytest.fixture(params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"])
def caller(request: pytest.FixtureRequest, gateway: RunningGateway) -> Iterator[Caller]:
    made = Caller(request.param, gateway.url)
    yield made
    made.close()


def test_json(caller: Caller):
    heard = caller.create()
    assert heard.text == "seven of clubs"
    assert heard.usage.type == "duration"


def test_text_and_subtitles(caller: Caller):
    assert caller.create(response_format="text") == "seven of clubs\n"
    srt = caller.create(response_format="srt")
    assert srt.startswith("1\n00:00:00,000 --> 00:00:")
    assert srt.endswith("\nseven of clubs\n\n")
    assert caller.create(response_format="vtt").startswith("WEBVTT\n\n00:00:00.000 --> ")


def test_verbose_json(caller: Caller):
    heard = caller.create(
        response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (heard.text, heard.language) == ("seven of clubs", "english")
    assert [word.word for word in heard.words] == ["seven", "of", "clubs"]
    assert all(0 <= word.start < word.end <= heard.duration for word in heard.words)
    assert "".join(segment.text for segment in heard.segments) == heard.text
    assert heard.segments[0].start == heard.words[0].start


def test_without_granularities_there_are_segments_alone(caller: Caller):
    heard = caller.create(response_format="verbose_json")
    assert heard.segments
    assert heard.words is None
    words = caller.create(response_format="verbose_json", timestamp_granularities=["word"])
    assert words.words
    assert words.segments is None


def test_a_stream(caller: Caller):
    *deltas, done = caller.events()
    assert done.type == "transcript.text.done"
    assert done.text == "seven of clubs"
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert "".join(event.delta for event in deltas) == done.text
    assert len(deltas) == 3


def test_raw_responses_carry_the_request_id(caller: Caller):
    raw = caller.run(
        caller.client.audio.transcriptions.with_raw_response.create(
            model="whisper-1", file=PATH, extra_headers={"x-request-id": "r-3"}
        )
    )
    assert raw.headers["x-request-id"] == "r-3"
    assert raw.parse().text == "seven of clubs"


def test_keywords_reach_the_beam_search(caller: Caller, server: FakeServer):
    caller.create(keywords=["clubs", "ten of hearts"])
    sent = uploads(server)[-1].options
    assert b'"decoder": "beam"' in sent or b'"decoder":"beam"' in sent
    assert b"ten of hearts" in sent


def test_models(caller: Caller):
    client = caller.client

    async def of(pages: Any) -> list[Any]:
        return [model async for model in pages]

    pages = client.models.list()
    found = caller.run(of(pages)) if hasattr(pages, "__aiter__") else list(pages)
    assert [model.id for model in found] == ["fake", "whisper-1"]
    assert caller.run(client.models.retrieve("whisper-1")).owned_by == "asr-server"
    with pytest.raises(openai.NotFoundError) as missing:
        caller.run(client.models.retrieve("gpt-4o/transcribe"))
    assert missing.value.code == "model_not_found"


def test_an_unknown_model(caller: Caller):
    with pytest.raises(openai.NotFoundError) as missing:
        caller.create(model="gpt-4o-transcribe")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert missing.value.request_id
    assert caller.create(model="fake").text


@pytest.mark.parametrize(
    ("fault", "kind", "param", "code"),
    [
        (Fault.CORRUPT_AUDIO, openai.BadRequestError, "file", "corrupt_audio"),
        (Fault.AUDIO_TOO_LONG, openai.BadRequestError, "file", "audio_too_long"),
        (Fault.UNKNOWN_LANGUAGE, openai.BadRequestError, "language", "unknown_language"),
        (Fault.INTERNAL_ERROR, openai.InternalServerError, None, "internal_error"),
        (Fault.MESSAGE_TOO_LARGE, openai.InternalServerError, None, "resource_exhausted"),
        (Fault.RESTRICTED, openai.InternalServerError, None, "unavailable"),
    ],
)
def test_failures(
    caller: Caller, server: FakeServer, fault: Fault, kind: type, param: str | None, code: str
):
    server.fail(fault)
    with pytest.raises(kind) as failed:
        caller.create()
    assert (failed.value.param, failed.value.code) == (param, code)
    assert failed.value.request_id


def test_what_cannot_succeed_is_not_sent_again(gateway: RunningGateway, server: FakeServer):
    caller = Caller(openai.OpenAI, gateway.url, max_retries=2)
    before = len(uploads(server))
    server.fail(Fault.INTERNAL_ERROR)
    with pytest.raises(openai.InternalServerError):
        caller.create()
    assert len(uploads(server)) == before + 1
    caller.close()


def test_many_callers_at_once(gateway: RunningGateway):
    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client:
            calls = [
                client.audio.transcriptions.create(model="whisper-1", file=PATH) for _ in range(32)
            ]
            return [heard.text for heard in await asyncio.gather(*calls)]

    assert asyncio.run(all_of_them()) == ["seven of clubs"] * 32


def test_a_caller_who_goes_away_stops_the_work():
    with FakeServer() as server, running(server.url) as gateway:
        server.hung = True
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)

        def call() -> None:
            with pytest.raises(openai.APITimeoutError):
                client.with_options(timeout=0.3).audio.transcriptions.create(
                    model="whisper-1", file=PATH
                )

        caller = threading.Thread(target=call)
        caller.start()
        caller.join()
        wait_until(lambda: bool(uploads(server)) and uploads(server)[0].ended_early.is_set())
        wait_until(
            lambda: gateway.metric("asr_gateway_recognitions_total", outcome="cancelled") == 1
        )
        route = "/v1/audio/transcriptions"
        wait_until(
            lambda: gateway.metric("asr_gateway_requests_total", route=route, status="499") == 1
        )
        assert gateway.metric("asr_gateway_requests_in_flight") == 0
        server.hung = False
        client.close()


def test_a_busy_server_is_a_503_that_says_when_to_come_back():
    with FakeServer() as server, running(server.url, timeout_s=0.2) as gateway:
        server.ready = False
        answer = gateway.http.post(
            "/v1/audio/transcriptions", files={"file": b"OggS"}, data={"model": "whisper-1"}
        )
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "server_error"
