"""The page's subtitles are those of the API."""

from __future__ import annotations

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from asr_client.testing import FakeServer
from asr_gateway import uploads
from asr_gateway.web import subtitles
from tests.support.gateway.running import RunningGateway

TEXT = "one & <two> three four five six seven eight nine ten eleven twelve thirteen fourteen " * 4


def transcribe(gateway: RunningGateway, **fields: str) -> str:
    answer = gateway.http.post(
        "/v1/audio/transcriptions",
        files={"file": b"OggS"},
        data={"model": "whisper-1", **fields},
    )
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_subtitles_of_the_words_are_those_of_the_recording(
    gateway: RunningGateway, server: FakeServer, monkeypatch: pytest.MonkeyPatch, format: str
):
    monkeypatch.setattr(server, "text", TEXT)
    granularity = {"timestamp_granularities[]": "word"}
    words = json.loads(transcribe(gateway, response_format="verbose_json", **granularity))["words"]
    answer = gateway.http.post(f"/web/subtitles?format={format}", content=json.dumps(words))
    assert answer.status_code == 200
    assert answer.text == transcribe(gateway, response_format=format)


@pytest.mark.parametrize(
    ("query", "body", "param"),
    [
        ("?format=ass", b"[]", "format"),
        ("", b"", "words"),
        ("", b'{"word": "a"}', "words"),
        ("", b'[{"word": "a", "start": -1, "end": 2}]', "words"),
        ("", b'[{"word": "a", "start": 1, "end": NaN}]', "words"),
        ("", b'[{"word": 5, "start": 1, "end": 2}]', "words"),
        ("", b'["\xff"]', "words"),
    ],
)
def test_what_is_no_list_of_words_is_refused(
    gateway: RunningGateway, query: str, body: bytes, param: str
):
    answer = gateway.http.post(f"/web/subtitles{query}", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_too_many_words_are_refused(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("asr_gateway.web.subtitles.MAX_BYTES", 100)
    answer = gateway.http.post("/web/subtitles", content=b"[" + b" " * 100 + b"]")
    assert answer.status_code == 413


def test_no_words_are_no_subtitles(gateway: RunningGateway):
    assert gateway.http.post("/web/subtitles", content=b"[]").text == ""
    assert gateway.http.post("/web/subtitles?format=vtt", content=b"[]").text == "WEBVTT\n\n"


@pytest.mark.parametrize("by", ["page", "API"])
def test_subtitles_of_many_words_do_not_hold_up_other_requests(
    gateway: RunningGateway, server: FakeServer, monkeypatch: pytest.MonkeyPatch, by: str
):
    began, may_end = threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        began.set()
        may_end.wait(120)
        return "subtitles"

    monkeypatch.setattr(server, "text", TEXT * 5)
    monkeypatch.setitem(subtitles._FORMATS, "srt", slow)
    monkeypatch.setattr("asr_gateway.openai.subtitles.srt", slow)
    with ThreadPoolExecutor(1) as pool:
        if by == "page":
            made = pool.submit(
                lambda: gateway.http.post("/web/subtitles", content=b"[]").raise_for_status().text
            )
        else:
            made = pool.submit(lambda: transcribe(gateway, response_format="srt"))
        try:
            assert began.wait(60)
            assert httpx2.get(f"{gateway.url}/livez", timeout=60).status_code == 200
        finally:
            may_end.set()
        assert made.result() == "subtitles"


def test_words_that_stop_coming_end_the_request(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploads, "PAUSE_TIMEOUT_S", 0.05)
    with gateway.connect() as slow:
        slow.sendall(
            b"POST /web/subtitles HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n["
        )
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        assert answer.status == 408
