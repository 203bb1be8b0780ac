"""A local server, here a program with the same flags and the fake inside."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from asr_client import Client
from tools.local_server import local_server

PROGRAM = f"""#!{sys.executable}
import argparse, http.server, os, pathlib, signal
from asr_client.testing import FakeServer

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"{{}}")

    def log_message(self, *_):
        pass

asked = []
def end(*_):
    asked.append(1)
    if len(asked) == 3:
        os._exit(3)

parser = argparse.ArgumentParser()
for name in ("grpc", "metrics", "health"):
    parser.add_argument(f"--{{name}}-port", type=int)
options = parser.parse_args()
pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
with FakeServer(port=options.grpc_port):
    http.server.HTTPServer(("127.0.0.1", options.health_port), Ready).serve_forever()
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that programs beside this Python are looked for in."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path


def _install(folder: Path, text: str) -> None:
    program = folder / "asr-server"
    program.write_text(text)
    program.chmod(0o755)


def test_starts_waits_and_stops(programs):
    _install(programs, PROGRAM)
    with local_server() as server, Client(server.url) as client:
        pid = int((programs / "pid").read_text())
        assert psutil.Process(pid).ppid() == os.getpid()
        assert client.is_ready()
    assert not psutil.pid_exists(pid)


def test_another_server_in_its_place(programs):
    _install(programs, PROGRAM)
    with local_server() as first:
        ports = first.ports
    with local_server(ports=ports) as second, Client(first.url) as client:
        assert second.url == first.url
        assert client.is_ready()


def test_in_the_end_it_is_asked_until_it_ends(programs):
    asks = "signal.signal(signal.SIGTERM, end)\n"
    _install(programs, PROGRAM.replace("with FakeServer", f"{asks}with FakeServer"))
    with local_server() as server:
        pass
    assert server.process.returncode == 3


def test_server_that_ends_early_is_named_with_its_status(programs):
    _install(programs, f"#!{sys.base_prefix}/bin/python3\nraise SystemExit(2)\n")
    with pytest.raises(RuntimeError, match="ended with status 2"), local_server():
        pass


def test_no_server_installed(programs):
    with pytest.raises(RuntimeError, match="run make setup"), local_server():
        pass
