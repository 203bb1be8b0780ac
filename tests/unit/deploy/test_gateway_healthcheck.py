"""The health check of the gateway's image, on a gateway."""

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from asr_client.testing import FakeServer
from tests.support.gateway.running import running

HEALTHCHECK = Path(__file__).parents[3] / "deploy" / "gateway_healthcheck.py"


def check(port: int, **environment: str) -> int:
    environment |= {"ASR_GATEWAY_HTTP_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    command = [sys.executable, HEALTHCHECK]
    return subprocess.run(command, env=environment, timeout=30, check=False).returncode


@pytest.mark.parametrize("host", ["", "127.0.0.1", "0.0.0.0"])
def test_a_ready_gateway(host: str):
    with FakeServer() as server, running(server.url) as gateway:
        assert check(gateway.address[1], ASR_GATEWAY_HOST=host) == 0


def test_a_gateway_whose_server_is_not_ready():
    with FakeServer() as server, running(server.url) as gateway:
        server.ready = False
        assert check(gateway.address[1]) == 1
        port = gateway.address[1]
    assert check(port) == 1, "nothing listens"


def test_a_gateway_with_tls(tmp_path: Path):
    # For another name: the check asks by address.
    issued = trustme.CA().issue_cert("asr.example")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    with (
        FakeServer() as server,
        running(server.url, tls_cert=str(cert), tls_key=str(key)) as gateway,
    ):
        port = gateway.address[1]
        assert check(port, ASR_GATEWAY_TLS_CERT=str(cert)) == 0
        assert check(port) == 1
