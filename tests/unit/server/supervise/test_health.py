"""The health port, requested as probes do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from asr_backend.server.supervise.health import Health, HealthServer
from tests.support.server.metrics_page import value


@pytest.fixture
def port() -> Iterator[int]:
    number = free_port()
    health = Health(ready=False, state="healing", models={})
    with contextlib.closing(HealthServer("127.0.0.1", number, lambda: health)):
        yield number


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def ask(port: int, method: str, path: str, address: str = "127.0.0.1") -> tuple[int, int, bytes]:
    """Status, stated length and body."""
    with contextlib.closing(http.client.HTTPConnection(address, port, timeout=10)) as asked:
        asked.request(method, path)
        answer = asked.getresponse()
        return answer.status, int(answer.headers["Content-Length"]), answer.read()


def test_a_probe_may_ask_with_head_and_with_a_query(port: int) -> None:
    status, length, body = ask(port, "GET", "/readyz?from=balancer")
    assert (status, length) == (503, len(body))
    assert ask(port, "HEAD", "/readyz") == (503, length, b"")
    assert ask(port, "HEAD", "/livez")[0] == 200
    assert ask(port, "GET", "/other")[0] == 404


def test_it_listens_on_ipv6_too() -> None:
    health, number = Health(ready=True, state="ready", models={}), free_port()
    with contextlib.closing(HealthServer("::1", number, lambda: health)):
        assert ask(number, "GET", "/readyz", "::1")[0] == 200


def test_a_probe_that_hangs_up_is_not_worth_a_traceback(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            probe.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert ask(port, "GET", "/livez")[0] == 200
    for handler in set(threading.enumerate()) - before:
        handler.join(10)
    assert capfd.readouterr().err == ""


def test_the_metrics_page_has_what_alerts_need() -> None:
    health = Health(ready=True, state="ready", models={}, certificate_expires=1.9e9)
    number = free_port()
    with contextlib.closing(HealthServer("127.0.0.1", number, lambda: health)):
        page = ask(number, "GET", "/metrics")[2].decode()
    assert value(page, "asr_ready") == 1
    assert value(page, "asr_certificate_expiry_timestamp_seconds") == 1.9e9
    for kind in ("memory", "shared_memory"):
        limit = value(page, "asr_memory_limit_bytes", kind=kind)
        assert 0 <= value(page, "asr_memory_available_bytes", kind=kind) <= limit
    typed = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(typed) == len(set(typed)), "each metric's type once"


def test_without_tls_no_certificate_expires(port: int) -> None:
    page = ask(port, "GET", "/metrics")[2].decode()
    assert "certificate" not in page
    assert value(page, "asr_ready") == 0
