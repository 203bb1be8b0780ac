"""The locked calls stay locked for users who can read tritonserver's arguments."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.server.dummy_server import dummy_server
from tests.support.server.raw_http2 import FIRST_INDEX, answer, field
from tools.local_server import free_ports

pytestmark = pytest.mark.server

PREFIX = "triton-grpc-protocol-"
TOKEN = "hush"
# What the answer of each call contains if the call is not locked.
OPEN = {"TraceSetting": b"trace_level", "LogSettings": b"log_verbose_level"}


def test_what_ps_shows_opens_no_locked_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(f"{TOKEN}\n")
    (http_port,) = free_ports(1)
    with dummy_server(tmp_path, f"--http-port={http_port}", f"--token-file={token}") as server:
        (lock,) = [
            argument.partition("logging:")[2]
            for argument in server.triton().cmdline()
            if argument.startswith("--grpc-restricted-protocol=shared-memory")
        ]
        name, _, value = lock.partition("=")
        assert name
        assert value
        host, port = server.url.split(":")

        def grpc(method: str, *fields: bytes) -> bytes:
            return answer(host, int(port), method, fields)

        # A header that can be sent would open them.
        metadata = grpc("ServerMetadata", field(PREFIX + "authorization", TOKEN))
        assert b"model_repository" in metadata
        for method, words in OPEN.items():
            assert b"This protocol is restricted" in grpc(method, b"")
            for fields in (
                [field(PREFIX + name, value)],
                [field(PREFIX + name.lower(), value)],
                [field(PREFIX + name, value, indexed=True), FIRST_INDEX],
            ):
                assert words not in grpc(method, *fields)

        def http(path: str, *headers: str) -> bytes:
            lines = [f"GET /v2/{path} HTTP/1.1", "Host: raw", "Connection: close", *headers, "", ""]
            with socket.create_connection((host, http_port), timeout=10) as connection:
                connection.sendall("\r\n".join(lines).encode())
                with connection.makefile("rb") as received:
                    return received.read()

        assert b"200 OK" in http("models/transcribe/config", f"authorization: {TOKEN}")
        for path, words in (("trace/setting", b"trace_level"), ("logging", b"log_verbose_level")):
            assert b"This API is restricted" in http(path)
            for header in (
                f"{name}: {value}",
                f"{name}:{value}",
                f"{name.replace(':', '')}: {value}",
            ):
                assert words not in http(path, header)
