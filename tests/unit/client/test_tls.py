"""The token and the certificates of a client: what is wrong is said at once, secrets never."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_client import AsyncClient, AuthenticationError, Client, TlsConfig
from asr_client._transport.channels import Access
from asr_client.testing import FakeServer
from tests.support.client.driver import Driver

TOKEN = "hush:hush,=="
SILENCE = np.zeros(8000, np.int16)
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"
BOTH = {"client_certificate": CERTIFICATE, "client_key": KEY}

both_clients = pytest.mark.parametrize("kind", [Client, AsyncClient])


def test_the_token_opens_what_it_gates(driver: Driver) -> None:
    with FakeServer(text="ace", token=TOKEN) as server:
        client = driver.open(server.url, token=TOKEN)
        assert client.is_ready()
        assert client.status().ready
        assert client.transcribe(SILENCE, sample_rate=16000).text == "ace"


@pytest.mark.parametrize("token", [None, "w-r-o-n-g"])
def test_no_token_or_a_wrong_one_is_never_tried_again(driver: Driver, token: str | None) -> None:
    with FakeServer(token=TOKEN) as server:
        client = driver.open(server.url, token=token)
        assert client.is_ready(), "health is open"
        with pytest.raises(AuthenticationError):
            client.status()
        with pytest.raises(AuthenticationError, match="the server refused the caller") as caught:
            client.transcribe(SILENCE, sample_rate=16000)
        assert caught.value.attempts == 1
        assert "triton-grpc-protocol-authorization" in caught.value.server_message
        told = [str(caught.value), repr(vars(caught.value)), *_notes(caught.value)]
        assert token is None or not any(token in line for line in told)
        assert server.requests == ()


@both_clients
@pytest.mark.parametrize("token", ["", "hush hush", "hush\n", "hüsh", "hush\0", b"hush", 5])
def test_what_no_header_can_carry_is_refused_without_showing_it(kind: Any, token: Any) -> None:
    with pytest.raises(ValueError, match="token is not") as caught:
        kind("localhost:1", token=token)
    assert not token or str(token) not in str(caught.value)


@both_clients
def test_no_repr_shows_a_secret(kind: Any) -> None:
    tls = TlsConfig(**BOTH, root_certificates="ca.pem", server_name_override="asr.test")
    assert repr(tls) == (
        "TlsConfig(root_certificates='ca.pem', client_certificate=<59 bytes>, client_key=..., "
        "server_name_override='asr.test')"
    )
    assert repr(TlsConfig()) == "TlsConfig()"
    client = kind("localhost:1", token=TOKEN, tls=TlsConfig(**BOTH))
    assert repr(client) == f"{kind.__name__}('localhost:1')"
    assert repr(Access(TOKEN, None)) == "Access()"


def test_a_configuration_is_a_value() -> None:
    tls = TlsConfig(**BOTH)
    assert tls == TlsConfig(**BOTH) == pickle.loads(pickle.dumps(tls))
    with pytest.raises(AttributeError):
        tls.client_key = None  # type: ignore[misc]


@pytest.mark.parametrize("name", ["client_certificate", "client_key"])
def test_certificate_and_key_go_together(name: str) -> None:
    with pytest.raises(ValueError, match="go together"):
        TlsConfig(**{name: "file.pem"})  # type: ignore[arg-type]


def test_pem_text_is_not_taken_for_a_path() -> None:
    with pytest.raises(ValueError, match="client_key is a path or bytes") as caught:
        TlsConfig(client_certificate="c.pem", client_key=KEY.decode())
    assert "hush" not in str(caught.value)


@both_clients
def test_files_are_read_when_the_client_is_made(kind: Any, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(FileNotFoundError):
        kind("localhost:1", tls=TlsConfig(root_certificates=file))
    file.write_bytes(CERTIFICATE)
    for path in (file, str(file)):
        kind("localhost:1", tls=TlsConfig(root_certificates=path))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"root_certificates": b"junk"}, "root_certificates is not in PEM"),
        ({"root_certificates": KEY}, "root_certificates is not in PEM, or is not a CERTIFICATE"),
        ({"client_certificate": b""}, "client_certificate is not in PEM"),
        ({"client_key": CERTIFICATE}, "client_key is not in PEM, or is not a PRIVATE KEY"),
    ],
)
def test_what_is_no_pem_is_refused(wrong: dict[str, bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Client("localhost:1", tls=TlsConfig(**{**BOTH, **wrong}))  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)


def _notes(error: BaseException) -> list[str]:
    notes: list[str] = getattr(error, "__notes__", [])
    return notes
