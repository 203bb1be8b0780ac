"""Certificates of the gateway's own, and the token and certificates of asr-server."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import pytest
import trustme

from asr_client.testing import FakeServer
from asr_gateway import cli
from tests.support.gateway.running import RunningGateway, running

TOKEN = "a-token-of-asr-server"


def transcribe(gateway: RunningGateway) -> httpx2.Response:
    return gateway.http.post(
        "/v1/audio/transcriptions", files={"file": b"OggS"}, data={"model": "whisper-1"}
    )


def test_the_servers_token(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with FakeServer(token=TOKEN) as server:
        with running(server.url, server_token_file=str(file)) as gateway:
            assert transcribe(gateway).status_code == 200
        with running(server.url) as gateway:
            answer = transcribe(gateway)
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "false"


def test_https_alone(server: FakeServer, tmp_path: Path):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, ca = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    with running(server.url, tls_cert=str(cert), tls_key=str(key)) as gateway:
        host, port = gateway.address
        trusting = ssl.create_default_context(cafile=ca)
        with httpx2.Client(base_url=f"https://{host}:{port}", verify=trusting) as secure:
            assert secure.get("/livez").status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            gateway.http.get("/livez")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("server_token_file", "two words", "token is not a string of visible"),
        ("server_ca", "no certificate", "not in PEM"),
    ],
)
def test_wrong_files_are_said_at_the_start(
    tmp_path: Path, name: str, content: str, complaint: str, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "file"
    file.write_text(content)
    flag = f"--{name.replace('_', '-')}={file}"
    assert cli.main(["--server=localhost:1", "--http-port=0", flag]) == 2
    printed = capsys.readouterr().err
    assert complaint in printed
    assert content not in printed
    assert printed.count("\n") == 1


def test_the_openapi_page_has_the_fields(gateway: RunningGateway):
    api = gateway.http.get("/openapi.json").json()
    form = api["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    fields = form["multipart/form-data"]["schema"]["properties"]
    assert {"file", "model", "keywords[]", "timestamp_granularities[]", "stream"} <= fields.keys()
    assert "/v1/recognitions/{id}" in api["paths"]
    assert gateway.http.get("/docs").status_code == 200
