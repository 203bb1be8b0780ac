"""A receiver of webhooks, or a host of recordings, in a thread."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers each request with the next status of `answers`, or with 204.

    `files` are the bodies of paths; they go with status 200.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.port = 0
        self._held: dict[str, threading.Event] = {}

    @contextlib.contextmanager
    def holding(self, path: str) -> Iterator[None]:
        """Answer requests for a path only when the block has ended."""
        self._held[path] = threading.Event()
        try:
            yield
        finally:
            self._held.pop(path).set()

    def wait(self, path: str) -> None:
        """Return when a request for a path may be answered."""
        if path in self._held:
            self._held[path].wait()

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Where a path is."""
        return f"{scheme}://{host}:{self.port}{path}"


@contextlib.contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a free port of the loopback interface."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            receiver.requests.append(Received(self.path, dict(self.headers.items()), body))
            receiver.wait(self.path)
            found = receiver.files.get(self.path)
            status = 204 if found is None else 200
            self.send_response(receiver.answers.pop(0) if receiver.answers else status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(found or b"")))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(found or b"")

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
