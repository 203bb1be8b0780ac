from __future__ import annotations

import re

import pytest

from asr_client.testing import FakeServer, Fault
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, uploads
from tests.support.recordings import FOLDER

WAV = (FOLDER / "cards-001-ten-of-clubs.wav").read_bytes()


def transcribe(gateway: RunningGateway, **more: object):
    return gateway.http.post(
        "/v1/audio/transcriptions", files={"file": WAV}, data={"model": "whisper-1"}, **more
    )


def test_the_callers_request_id_goes_on_to_the_server_and_comes_back(
    gateway: RunningGateway, server: FakeServer
):
    answer = transcribe(gateway, headers={"x-request-id": "job-7:part.2"})
    assert uploads(server)[-1].request_id == "job-7:part.2"
    for header in ("x-request-id", "x-asr-call-id"):
        assert answer.headers[header] == "job-7:part.2"


@pytest.mark.parametrize("given", [None, "two words", "x" * 129, "ü", ""])
def test_a_request_without_a_usable_id_gets_one(gateway: RunningGateway, given: str | None):
    headers = {} if given is None else {"x-request-id": given.encode()}
    answer = gateway.http.get("/livez", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_the_log_joins_both_ids(gateway: RunningGateway, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "asr_gateway")
    answer = transcribe(gateway, headers={"x-request-id": "r-1"})
    ids = f"request=r-1 call={answer.headers['x-asr-call-id']}"
    wait_until(lambda: ids in caplog.text)


def test_a_failed_call_names_its_id_too(gateway: RunningGateway, server: FakeServer):
    server.fail(Fault.CORRUPT_AUDIO)
    answer = transcribe(gateway)
    assert answer.status_code == 400
    assert answer.headers["x-asr-call-id"] == uploads(server)[-1].request_id


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/livez", 405)]
)
def test_what_is_not_there_is_answered_as_openai_does(
    gateway: RunningGateway, method: str, path: str, status: int
):
    answer = gateway.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


def test_a_defect_is_a_500_with_an_id_and_a_traceback_in_the_log(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def breaks() -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(gateway.parts.served, "info", breaks)
    answer = gateway.http.get("/v1/models", headers={"x-request-id": "r-2"})
    assert answer.status_code == 500
    assert "r-2" in answer.json()["error"]["message"]
    assert "a defect" not in answer.text
    assert answer.headers["x-should-retry"] == "false"
    assert "ZeroDivisionError: a defect" in caplog.text


def test_requests_are_counted(gateway: RunningGateway):
    def count(route: str, status: str) -> float:
        return gateway.metric("asr_gateway_requests_total", route=route, status=status)

    before = count("/livez", "200"), count("other", "404")
    gateway.http.get("/livez")
    gateway.http.get("/nowhere/at/all")
    after = (before[0] + 1, before[1] + 1)
    wait_until(lambda: (count("/livez", "200"), count("other", "404")) == after)


def test_the_metrics_page(gateway: RunningGateway, server: FakeServer):
    seconds = gateway.metric("asr_gateway_audio_seconds_total")
    attempts = gateway.metric("asr_gateway_server_attempts_total", status="OK")
    heard = transcribe(gateway).json()
    page = gateway.http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'asr_gateway_recognitions_total{outcome="succeeded"}' in page.text
    now = gateway.metric("asr_gateway_audio_seconds_total")
    assert heard["usage"]["seconds"] - 1 < now - seconds <= heard["usage"]["seconds"]
    assert gateway.metric("asr_gateway_server_attempts_total", status="OK") == attempts + 1
    names = set(re.findall(r"^# TYPE (\w+)", page.text, re.MULTILINE))
    assert all(name.startswith("asr_gateway_") for name in names)


def test_a_path_cannot_forge_lines_of_the_log(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "asr_gateway")
    gateway.http.get("/a%0Aasr-gateway%20forged")
    wait_until(lambda: "/a%0Aasr-gateway%20forged 404" in caplog.text)
