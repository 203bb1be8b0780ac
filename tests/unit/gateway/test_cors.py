"""`--cors`: pages of the named origins may call, others may not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from asr_client.testing import FakeServer
from asr_gateway import cli, cors
from tests.support.gateway.running import RunningGateway, running

ALLOWED = "https://app.example"
PORT = "http://localhost:3000"
OTHER = "https://evil.example"
PATH = "/v1/audio/transcriptions"
KEY = "a-key"


@pytest.fixture(scope="module")
def gateway(server: FakeServer) -> Iterator[RunningGateway]:
    with running(server.url, cors=f"{ALLOWED}, {PORT}") as started:
        yield started


@pytest.fixture(scope="module")
def keyed(server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    file: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    file.write_text(f'{{"keys": [{{"name": "alice", "sha256": "{digest}"}}]}}')
    file.chmod(0o600)
    with running(server.url, cors=ALLOWED, keys=str(file)) as started:
        yield started


def preflight(gateway: RunningGateway, origin: str, method: str = "POST") -> httpx2.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,x-stainless-lang",
    }
    return gateway.http.options(PATH, headers=headers)


@pytest.mark.parametrize("origin", [ALLOWED, PORT])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_preflight_of_an_allowed_origin(gateway: RunningGateway, origin: str, method: str):
    answer = preflight(gateway, origin, method)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert method in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [OTHER, "null", f"{ALLOWED}.evil.example", "http://app.example", f"{ALLOWED}:8443"]
)
def test_other_origins(gateway: RunningGateway, origin: str):
    refused = preflight(gateway, origin)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    answer = gateway.http.get("/v1/models", headers={"origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_an_answer_and_an_error_are_readable(gateway: RunningGateway):
    for path, status in (("/v1/models", 200), ("/v1/models/none", 404)):
        answer = gateway.http.get(path, headers={"origin": ALLOWED})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


def test_an_allowed_origin_does_not_make_a_foreign_host_one_of_ours(gateway: RunningGateway):
    headers = {"origin": ALLOWED, "host": "rebound.example"}
    assert gateway.http.get("/v1/models", headers=headers).status_code == 403


def test_with_keys_a_preflight_needs_none_and_the_request_does(keyed: RunningGateway):
    assert preflight(keyed, ALLOWED).status_code == 200
    answer = keyed.http.get("/v1/models", headers={"origin": ALLOWED})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    headers = {"origin": ALLOWED, "authorization": f"Bearer {KEY}"}
    assert keyed.http.get("/v1/models", headers=headers).status_code == 200


def test_without_the_flag_nothing_is_allowed(server: FakeServer):
    with running(server.url) as gateway:
        assert "access-control-allow-origin" not in preflight(gateway, ALLOWED).headers
        assert gateway.http.get("/livez", headers={"origin": ALLOWED}).status_code == 403
        own = {"origin": gateway.url}
        assert gateway.http.get("/livez", headers=own).status_code == 200


@pytest.mark.parametrize(
    "text", ["https://a.example", "http://localhost:3000", "http://[::1]:8000", "https://x-1"]
)
def test_origins(text: str):
    assert cors.origins(text) == (text,)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "app.example",
        "https://app.example/",
        "https://app.example/page",
        "https://APP.example",
        "HTTPS://app.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:x",
        "https://app.example:99999",
        "https://user@app.example",
        "https://*.example",
        "https://",
        "ftp://app.example",
        "https://bücher.example",
        "https://a.example https://b.example",
    ],
)
def test_what_no_browser_sends_ends_the_command(text: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--server=localhost:1", f"--cors=https://a.example,{text}"]) == 2
    assert f"--cors {text!r}" in capsys.readouterr().err
