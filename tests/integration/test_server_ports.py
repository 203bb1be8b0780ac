"""Where the real server listens, and what it does when another program takes a port."""

from __future__ import annotations

import contextlib
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.server.dummy_server import DummyServer, dummy_server, wait_for
from tools.local_server import free_ports

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("host", "admin_host", "written", "admin_written"),
    [("127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.1"), ("::1", "::1", "[::1]", "[::1]")],
)
def test_it_listens_where_it_is_told(
    tmp_path: Path, host: str, admin_host: str, written: str, admin_written: str
) -> None:
    (http_port,) = free_ports(1)
    flags = (f"--host={host}", f"--admin-host={admin_host}", f"--http-port={http_port}")
    with dummy_server(tmp_path, *flags) as server:
        assert server.url.startswith(f"{written}:")
        assert server.metrics_url.startswith(f"http://{admin_written}:")
        assert server.health_url.startswith(f"http://{admin_written}:")
        assert server.call("transcribe") > 0
        assert server.ready()[0] == 200
        for url in (server.metrics_url, f"http://{written}:{http_port}/v2/health/ready"):
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200
        # Neither listens where the other does.
        for url, elsewhere in ((server.metrics_url, host), (server.url, admin_host)):
            match = re.search(r":(\d+)(/|$)", url)
            assert match
            if host != admin_host:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((elsewhere, int(match[1])), timeout=5)


@contextlib.contextmanager
def robbed(server: DummyServer) -> Iterator[int]:
    """Another program listens on the port that gRPC is to have, while the models load."""

    def arguments() -> list[str]:
        children = psutil.Process(server.process.pid).children()
        lines = [child.cmdline() for child in children if child.name() == "tritonserver"]
        return lines[0] if lines else []

    wait_for(lambda: bool(arguments()))
    (port,) = (int(one.split("=")[1]) for one in arguments() if one.startswith("--grpc-port="))
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_a_lost_port_that_was_asked_for_ends_it_with_one_line(tmp_path: Path) -> None:
    (asked,) = free_ports(1)
    with (
        dummy_server(tmp_path, f"--grpc-port={asked}", ready=False) as server,
        robbed(server) as port,
    ):
        assert port == asked
        assert server.process.wait(timeout=60) == 2
        last = server.log.read_text().splitlines()[-1]
        assert last == (
            f"asr-server: --grpc-port {asked}: another program took it while the models loaded"
        )
        assert server.leftovers() == []


def test_a_lost_port_of_its_own_choice_is_replaced(tmp_path: Path) -> None:
    with dummy_server(tmp_path, ready=False) as server, robbed(server) as port:
        server.wait_until_ready()
        assert f"--grpc-port {port}: another program took it" in server.log.read_text()
        assert not server.url.endswith(f":{port}")
        assert server.call("transcribe") > 0
