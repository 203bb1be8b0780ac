from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from asr_client.testing import FakeServer
from asr_gateway import cli, keys
from asr_gateway.console import StartError
from asr_gateway.keys import Keys
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running

PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00+02:00"


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"key-{name}".encode()).hexdigest(), **more}


def write(path: Path, *entries: dict[str, Any], text: str = "", mode: int = 0o600) -> Path:
    fresh = path.with_suffix(".new")
    fresh.write_text(text or json.dumps({"keys": entries}))
    fresh.chmod(mode)
    os.replace(fresh, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("keys") / "keys.json",
        entry("alice", expires_at=FUTURE),
        entry("old", expires_at=PAST),
        entry("few", requests_per_minute=2),
        entry("short", audio_s_per_minute=0.5),
        entry("single", at_once=1),
    )


@pytest.fixture(scope="module")
def gateway(server: FakeServer, file: Path) -> Iterator[RunningGateway]:
    with running(server.url, keys=str(file)) as started:
        yield started


def client(gateway: RunningGateway, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)


def create(gateway: RunningGateway, name: str) -> str:
    with client(gateway, f"key-{name}") as caller:
        heard = caller.audio.transcriptions.create(model="whisper-1", file=b"OggS")
    return heard.text


def test_a_key_opens(gateway: RunningGateway):
    assert create(gateway, "alice") == "seven of clubs"


@pytest.mark.parametrize("key", ["nobodys", "key-old", "KEY-ALICE"])
def test_another_key_does_not(gateway: RunningGateway, key: str):
    with client(gateway, key) as caller, pytest.raises(openai.AuthenticationError) as refused:
        caller.models.list()
    assert refused.value.code == "invalid_api_key"
    assert key not in refused.value.message


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic a2V5", "key-alice"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/audio/transcriptions", "/nowhere"])
def test_without_a_key_it_is_a_401(gateway: RunningGateway, path: str, header: str | None):
    headers = {} if header is None else {"authorization": header}
    answer = gateway.http.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "missing_api_key"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_health_needs_no_key_and_no_loopback_name(gateway: RunningGateway, path: str):
    assert gateway.http.get(path, headers={"host": "gateway.example"}).status_code == 200


def test_requests_a_minute(gateway: RunningGateway):
    create(gateway, "few")
    create(gateway, "few")
    with pytest.raises(openai.RateLimitError) as refused:
        create(gateway, "few")
    assert (refused.value.type, refused.value.code) == ("requests", "rate_limit_exceeded")
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
    assert create(gateway, "alice")
    assert gateway.metric("asr_gateway_limited_total", limit="requests") == 1


def test_audio_a_minute(gateway: RunningGateway):
    # The fake calls each Ogg file one second: that is paid for afterwards.
    create(gateway, "short")
    with pytest.raises(openai.RateLimitError) as refused:
        create(gateway, "short")
    assert refused.value.type == "audio"
    assert 50 <= int(refused.value.response.headers["retry-after"]) <= 60


def test_recognitions_at_once(gateway: RunningGateway):
    def status() -> int:
        return gateway.http.post(
            "/v1/audio/transcriptions",
            headers={"authorization": "Bearer key-single"},
            files={"file": b"OggS"},
            data={"model": "whisper-1"},
        ).status_code

    def in_flight() -> float:
        return gateway.metric("asr_gateway_requests_in_flight")

    wait_until(lambda: in_flight() == 0)
    with gateway.connect() as uploading:
        uploading.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\ncontent-length: 999\r\n"
            b"authorization: Bearer key-single\r\n"
            b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        wait_until(lambda: in_flight() == 1)
        assert status() == 429
        assert create(gateway, "alice")
    wait_until(lambda: status() == 200)


def test_the_file_is_read_again_when_it_changes(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys, "CHECK_S", 0.0)
    path = write(tmp_path / "keys.json", entry("alice"))
    with running(server.url, keys=str(path)) as gateway:
        assert create(gateway, "alice")
        write(path, entry("bob"))
        assert create(gateway, "bob")
        with pytest.raises(openai.AuthenticationError):
            create(gateway, "alice")


@pytest.mark.parametrize("text", ["{", '{"keys": [{"name": "x"}]}'])
def test_a_wrong_file_changes_nothing(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture):
    path = write(tmp_path / "keys.json", entry("alice"))
    loaded = Keys(path)
    write(path, text=text)
    loaded.reload()
    assert "the keys stay as they were" in caplog.text
    assert loaded.find("key-alice")
    path.unlink()
    loaded.reload()
    assert loaded.find("key-alice")
    write(path, entry("bob"))
    loaded.reload()
    assert not loaded.find("key-alice")
    assert loaded.find("key-bob")


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([entry("a", colour="red")], "keys.0.colour: Extra inputs are not permitted"),
        ([entry("a b")], "keys.0.name: a name has"),
        ([{"name": "a", "sha256": "secret"}], "keys.0.sha256: not the 64"),
        ([entry("a", at_once=0)], "keys.0.at_once: Input should be greater than or equal to 1"),
        ([entry("a", requests_per_minute="9")], "keys.0.requests_per_minute: Input should be"),
        ([entry("a", expires_at="2027-01-01T00:00:00")], "a time without a zone"),
        ([entry("a"), entry("a")], "the name a is there twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, entries: list[dict[str, Any]], complaint: str
):
    path = write(tmp_path / "keys.json", *entries)
    with pytest.raises(StartError) as refused:
        Keys(path)
    assert complaint in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o644, 0o606, 0o620])
def test_a_file_that_is_open_to_others(
    tmp_path: Path, mode: int, capsys: pytest.CaptureFixture[str]
):
    path = write(tmp_path / "keys.json", entry("a"), mode=mode)
    assert cli.main(["--server=a:1", "--http-port=0", f"--keys={path}"]) == 2
    assert "open to others" in capsys.readouterr().err


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path / "keys.json", entry("alice"))
    real = os.fstat

    def replaced(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        write(path, entry("bob"))
        return status

    with monkeypatch.context() as patch:
        patch.setattr(keys.os, "fstat", replaced)
        loaded = Keys(path)
    assert loaded.find("key-alice")
    loaded.reload()
    assert loaded.find("key-alice") is None
    assert loaded.find("key-bob")
