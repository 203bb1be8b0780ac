"""GET /livez, /readyz and /metrics on the health port."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from asr_backend.server.prepare.addresses import family
from asr_backend.server.supervise.memory import rooms


@dataclass(frozen=True, kw_only=True)
class Health:
    """The server's state.

    Attributes:
        ready: whether every model has an instance that serves.
        state: "starting", "ready", "healing", "restarting" or "draining".
        models: by name, `{"state", "instances", "dead", "heals", "hangs"}`.
        restarts: times that tritonserver was replaced.
        certificate_expires: when the first certificate of --tls-cert expires, Unix time in seconds;
            None without TLS.
    """

    ready: bool
    state: str
    models: Mapping[str, Mapping[str, str | int]]
    restarts: int = 0
    certificate_expires: float | None = None


class _Server(ThreadingHTTPServer):
    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = family(host)
        super().__init__((host, port), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores probes that hang up early; they come every few seconds."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class HealthServer:
    """Serves its port from a thread, from construction until `close`."""

    def __init__(self, host: str, port: int, read: Callable[[], Health]) -> None:
        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "asr-server", ""
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                health = read()
                path = self.path.partition("?")[0]
                if path == "/livez":
                    self._answer(200, "text/plain", "alive\n")
                elif path == "/readyz":
                    status = 200 if health.ready else 503
                    body = {"ready": health.ready, "state": health.state, "models": health.models}
                    self._answer(status, "application/json", json.dumps(body) + "\n")
                elif path == "/metrics":
                    self._answer(200, "text/plain; version=0.0.4", _metrics(health))
                else:
                    self._answer(404, "text/plain", "/livez, /readyz or /metrics\n")

            do_HEAD = do_GET

            def _answer(self, status: int, kind: str, body: str) -> None:
                data = body.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing: probes come every few seconds."""

        self._server = _Server(host, port, Handler)
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()


def _metrics(health: Health) -> str:
    lines = [
        "# HELP asr_restarts_total Times that tritonserver was replaced by a new one.",
        "# TYPE asr_restarts_total counter",
        f"asr_restarts_total {health.restarts}",
        "# HELP asr_ready 1 while every model has a process that serves, else 0.",
        "# TYPE asr_ready gauge",
        f"asr_ready {int(health.ready)}",
    ]
    for key, text in (
        ("heals", "Times that dead instances of a model were replaced."),
        ("hangs", "Instances of a model that were killed because they made no progress."),
    ):
        lines += [f"# HELP asr_{key}_total {text}", f"# TYPE asr_{key}_total counter"]
        for name, model in health.models.items():
            lines.append(f'asr_{key}_total{{model="{name}"}} {model[key]}')
    found = rooms()
    for key, text in (
        ("limit", "Bytes that the server may take, by kind."),
        ("available", "Bytes that the server can still take, by kind."),
    ):
        lines += [f"# HELP asr_memory_{key}_bytes {text}", f"# TYPE asr_memory_{key}_bytes gauge"]
        for kind, room in found.items():
            lines.append(f'asr_memory_{key}_bytes{{kind="{kind}"}} {getattr(room, key)}')
    if health.certificate_expires is not None:
        lines += [
            "# HELP asr_certificate_expiry_timestamp_seconds When the certificate expires.",
            "# TYPE asr_certificate_expiry_timestamp_seconds gauge",
            f"asr_certificate_expiry_timestamp_seconds {health.certificate_expires:.0f}",
        ]
    return "\n".join(lines) + "\n"
