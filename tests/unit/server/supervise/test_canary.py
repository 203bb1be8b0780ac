"""Whether tritonserver answers, with a small HTTP server in its place."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time

import pytest

from asr_backend.server.supervise import canary
from asr_backend.server.supervise.canary import Canary


class Page(http.server.BaseHTTPRequestHandler):
    silent = threading.Event()

    def do_GET(self) -> None:
        if self.silent.is_set():
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"nv_inference_count 1\n")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_it_counts_the_answers_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "INTERVAL_S", 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with contextlib.closing(Canary("127.0.0.1", server.server_port)) as asked:
            wait_for_more(asked)
            Page.silent.set()
            wait_for_rest(asked)
            Page.silent.clear()
            wait_for_more(asked)
        asked._thread.join(20)
        assert not asked._thread.is_alive(), "closed, it asks no more"
        server.shutdown()
        thread.join()


def wait_for_rest(asked: Canary) -> None:
    """Wait until no answer is counted for many turns; one may be under way."""
    before, deadline = -1, time.monotonic() + 20
    while asked.answers != before:
        assert time.monotonic() < deadline
        before = asked.answers
        time.sleep(0.2)


def wait_for_more(asked: Canary) -> None:
    before, deadline = asked.answers, time.monotonic() + 20
    while asked.answers < before + 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
