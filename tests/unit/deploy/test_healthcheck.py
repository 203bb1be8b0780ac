import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

HEALTHCHECK = Path(__file__).parents[3] / "deploy" / "healthcheck.py"


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def health(request: pytest.FixtureRequest) -> Iterator[http.server.HTTPServer]:
    address = getattr(request, "param", "127.0.0.1")

    class Server(http.server.HTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with Server((address, 0), _Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _check(port: int, **environment: str) -> int:
    environment |= {"ASR_HEALTH_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    return subprocess.run([sys.executable, HEALTHCHECK], env=environment, timeout=30).returncode


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1), (404, 1)])
def test_exit_status_follows_readyz(health, status, exit_status):
    health.status = status
    assert _check(health.server_port) == exit_status


@pytest.mark.parametrize(
    ("health", "admin_host"),
    [
        ("127.0.0.1", ""),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "::1"),
        ("::1", "::"),
    ],
    indirect=["health"],
)
def test_it_asks_where_the_server_listens(health, admin_host):
    health.status = 200
    assert _check(health.server_port, ASR_ADMIN_HOST=admin_host) == 0


def test_nothing_listening_is_unhealthy(health):
    health.server_close()
    assert _check(health.server_port) == 1
