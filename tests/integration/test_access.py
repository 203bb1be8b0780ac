"""Who may call the real server: certificates both ways, the token, and the calls locked for all."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc

from asr_client import (
    AsrError,
    AsyncClient,
    AuthenticationError,
    Client,
    RetryPolicy,
    ServerUnavailable,
    TlsConfig,
)
from tests.support.recordings import FOLDER
from tools.local_server import LocalServer, local_server

pytestmark = pytest.mark.server

TOKEN = "hush:hush,=+/=="
"""It has every character that Triton's argument parser could misread."""
NAME = "asr.test"
HEADER = "triton-grpc-protocol-authorization"
RECORDING = FOLDER / "go-forward-ten-meters.wav"
SILENCE = np.zeros(8000, np.int16)
ONCE = RetryPolicy(max_attempts=1)


@dataclass(frozen=True)
class Guarded:
    """A server that asks for a certificate and the token, and what a caller needs."""

    server: LocalServer
    folder: Path

    def tls(self, *, signed_by: str = "ca", trusts: str = "ca", **changes: Any) -> TlsConfig:
        files = {
            "root_certificates": self.folder / f"{trusts}.pem",
            "client_certificate": self.folder / f"client-of-{signed_by}.pem",
            "client_key": self.folder / f"client-of-{signed_by}.key",
            "server_name_override": NAME,
        }
        return TlsConfig(**{**files, **changes})

    def client(self, **changes: Any) -> Client:
        settings = {"timeout_s": 60, "token": TOKEN, "tls": self.tls()}
        return Client(self.server.url, **{**settings, **changes})

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    for name in ("ca", "other"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / f"{name}.pem")
        for issued, whose in (
            (authority.issue_cert(NAME, "127.0.0.1"), f"server-of-{name}"),
            (authority.issue_cert("caller"), f"client-of-{name}"),
        ):
            issued.cert_chain_pems[0].write_to_path(folder / f"{whose}.pem")
            issued.private_key_pem.write_to_path(folder / f"{whose}.key")
            (folder / f"{whose}.key").chmod(0o600)
    token = folder / "token"
    token.touch(0o600)
    token.write_text(f"{TOKEN}\n")
    flags = {
        "--tls-cert": folder / "server-of-ca.pem",
        "--tls-key": folder / "server-of-ca.key",
        "--tls-ca": folder / "ca.pem",
        "--token-file": token,
    }
    given = [f"{flag}={path}" for flag, path in flags.items()]
    with (
        (folder / "log").open("wb") as log,
        local_server("--frontends=1", *given, log=log) as server,
    ):
        yield Guarded(server, folder)


def test_with_certificate_and_token_all_works(guarded: Guarded):
    with guarded.client() as client:
        client.wait_until_ready()
        assert client.status().ready
        assert client.transcribe(RECORDING).words

    async def asynchronous() -> str:
        async with AsyncClient(guarded.server.url, token=TOKEN, tls=guarded.tls()) as client:
            return (await client.transcribe(RECORDING)).text

    assert asyncio.run(asynchronous())
    assert guarded.server.health()[0] == 200


def test_certificates_may_be_bytes(guarded: Guarded):
    names = ("root_certificates", "client_certificate", "client_key")
    files = {name: Path(getattr(guarded.tls(), name)).read_bytes() for name in names}
    with guarded.client(tls=guarded.tls(**files)) as client:
        assert client.status().ready


def test_the_command_takes_the_same(guarded: Guarded):
    program = str(Path(sys.executable).with_name("asr"))
    tls = {
        "--tls-ca": guarded.folder / "ca.pem",
        "--tls-cert": guarded.folder / "client-of-ca.pem",
        "--tls-key": guarded.folder / "client-of-ca.key",
    }
    flags = [*(f"{flag}={path}" for flag, path in tls.items()), f"--url={guarded.server.url}"]
    token = f"--token-file={guarded.folder / 'token'}"

    def asr(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=120, check=False
        )
        assert "hush" not in done.stdout + done.stderr
        return done

    assert asr("transcribe", str(RECORDING), *flags, token).stdout.strip()
    assert "live, ready" in asr("status", *flags, token).stdout
    refused = asr("transcribe", str(RECORDING), *flags)
    assert refused.returncode == 1
    assert "the server refused the caller" in refused.stderr


def test_no_token_or_a_wrong_one_is_refused_at_once(guarded: Guarded):
    for token in (None, TOKEN[:-1], TOKEN + "="):
        with guarded.client(token=token) as client:
            assert client.is_ready(), "health is open"
            with pytest.raises(AuthenticationError):
                client.status()
            with pytest.raises(AuthenticationError) as caught:
                client.transcribe(SILENCE, sample_rate=16000)
        assert caught.value.attempts == 1
        assert_no_secret(caught.value)


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (lambda _: None, "does the server want TLS"),
        (
            lambda g: g.tls(client_certificate=None, client_key=None),
            "does the server want a client certificate",
        ),
        (lambda g: g.tls(signed_by="other"), "does the server want another client certificate"),
        (
            lambda g: g.tls(client_key=g.folder / "client-of-other.key"),
            "do client_certificate and client_key belong together",
        ),
        (lambda g: g.tls(trusts="other"), "CERTIFICATE_VERIFY_FAILED"),
        # OpenSSL's words, and those of older versions of grpcio.
        (
            lambda g: g.tls(server_name_override="another.test"),
            "Hostname Verification|another.test is not in peer certificate",
        ),
    ],
    ids=["plain", "no certificate", "wrong certificate", "pair", "authority", "name"],
)
def test_a_failed_handshake_says_why(
    guarded: Guarded, tls: Callable[[Guarded], TlsConfig | None], words: str
):
    with guarded.client(tls=tls(guarded), retry=ONCE, timeout_s=20) as client:
        assert not client.is_ready()
        with pytest.raises(ServerUnavailable) as caught:
            client.transcribe(SILENCE, sample_rate=16000)
    assert type(caught.value) is ServerUnavailable
    assert re.search(words, caught.value.server_message)
    assert_no_secret(caught.value)


GATED = ("ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics", "ModelInfer")
LOCKED = (
    *("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    *("TraceSetting", "LogSettings"),
)
OPEN = ("ServerLive", "ServerReady", "ModelReady")


def test_every_method_is_open_gated_or_locked(guarded: Guarded):
    assert {
        method.name
        for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    } == {*GATED, *LOCKED, *OPEN, "ModelStreamInfer"}
    tls = guarded.tls()
    key, chain = (Path(str(path)).read_bytes() for path in (tls.client_key, tls.client_certificate))
    credentials = grpc.ssl_channel_credentials((guarded.folder / "ca.pem").read_bytes(), key, chain)
    options = [("grpc.ssl_target_name_override", NAME), ("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(guarded.server.url, credentials, options=options) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def restricted(method: str, *metadata: tuple[str, str]) -> bool:
            request = getattr(service_pb2, f"{method}Request", service_pb2.ModelInferRequest)()
            try:
                if method == "ModelStreamInfer":
                    list(stub.ModelStreamInfer(iter([request]), timeout=30, metadata=metadata))
                else:
                    getattr(stub, method)(request, timeout=30, metadata=metadata)
            except grpc.RpcError as error:
                return "This protocol is restricted" in error.details()
            return False

        for method in OPEN:
            assert not restricted(method)
        for method in (*GATED, "ModelStreamInfer"):
            assert restricted(method)
            assert restricted(method, (HEADER, "other"))
            assert restricted(method, ("authorization", TOKEN))
            assert not restricted(method, (HEADER, TOKEN))
        for method in LOCKED:
            assert restricted(method)
            assert restricted(method, (HEADER, TOKEN), ("triton-grpc-protocol-asr", TOKEN))


def test_a_healed_server_asks_for_the_same(guarded: Guarded):
    (front,) = guarded.server.stubs("transcribe")
    front.kill()
    deadline = time.monotonic() + 60
    while guarded.server.health()[1]["models"]["transcribe"]["heals"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with guarded.client() as client:
        assert client.transcribe(RECORDING).words
    with guarded.client(token=None) as client, pytest.raises(AuthenticationError):
        client.transcribe(RECORDING)


def test_no_log_shows_the_token(guarded: Guarded):
    log = guarded.log()
    assert "asr-server ready: grpc" in log
    assert f"--tls-key FILE --token-file {guarded.folder / 'token'}" in log
    assert "hush" not in log
    assert "PRIVATE KEY" not in log


def assert_no_secret(error: AsrError) -> None:
    """Neither the error nor what led to it shows the token or a part of a key."""
    link: BaseException | None = error
    lines = traceback.format_exception(error)
    while link is not None:
        lines += [repr(link), repr(vars(link))]
        link = link.__cause__ or link.__context__
    assert not any("hush" in line or "PRIVATE KEY" in line for line in lines)
