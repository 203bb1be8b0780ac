"""The command asr-gateway."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from asr_gateway.addresses import is_loopback
from asr_gateway.app import create_app
from asr_gateway.connections import bounded_protocol
from asr_gateway.console import StartError, log_to_stderr, logger
from asr_gateway.metrics import Metrics
from asr_gateway.settings import Settings, parse
from asr_gateway.store.database import without_password

_BACKLOG = 2048


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 2 for what is wrong before it serves."""
    try:
        command_line = parse(sys.argv[1:] if argv is None else argv, os.environ)
        check_exposure(command_line.settings)
        if command_line.print_config:
            return _print(json.dumps(_printable(command_line.settings), indent=2))
        return serve(command_line.settings)
    except StartError as error:
        print(f"asr-gateway: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _printable(settings: Settings) -> dict[str, object]:
    return {**dataclasses.asdict(settings), "store": without_password(settings.store)}


def check_exposure(settings: Settings) -> None:
    """Refuse an address that others reach, unless somebody decided who may call.

    Raises:
        StartError: there is neither `--keys` nor `--no-keys`.
    """
    if not settings.keys and not settings.no_keys and not is_loopback(settings.host):
        raise StartError(
            f"--host {settings.host}: others reach this address, so --keys FILE is needed, or "
            "--no-keys to serve without keys"
        )


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first.

    Raises:
        StartError: the port is taken, or a file is missing or wrong.
    """
    metrics = Metrics()
    app = create_app(settings, metrics)
    server = Server(uvicorn_config(app, settings, metrics))
    with listen(settings) as listener:
        log_to_stderr()
        scheme = "https" if settings.tls_cert else "http"
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        if settings.keys and not settings.tls_cert and not is_loopback(settings.host):
            logger.warning("without --tls-cert the keys travel in plain text")
        logger.info("listening on %s://%s:%s", scheme, shown, port)
        server.run(sockets=[listener])
    logger.info("stopped")
    return 0


def uvicorn_config(app: FastAPI, settings: Settings, metrics: Metrics) -> uvicorn.Config:
    """How uvicorn runs the application.

    Raises:
        StartError: the certificate and its key are missing or wrong.
    """
    config = uvicorn.Config(
        app,
        http=bounded_protocol(metrics, max_connections=settings.max_connections),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.exit_timeout_s)),
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"--tls-cert and --tls-key: {error}") from None
    return config


class Server(uvicorn.Server):
    """uvicorn's server, which tells the application when a stop begins."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first begins to drain, a second one stops immediately."""
        if self.should_exit:
            self.force_exit = True
            return
        # Before the line is logged: a second signal may come while it is.
        self.should_exit = True
        logger.info("stopping; requests in flight are answered first")
        gateway = getattr(self.config.app.state, "gateway", None)  # type: ignore[union-attr]
        if gateway is not None:
            gateway.readiness.draining = True
            gateway.jobs.drain()


def _print(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python's own flush at the end would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def listen(settings: Settings) -> socket.socket:
    """A socket that accepts connections already; they wait until the application has begun.

    Raises:
        StartError: the address is wrong, or its port is taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the socket names its protocol. Nagle's costs
    # an answer of several writes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.http_port))
        listener.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        listener.close()
        where = f"--host {settings.host} --http-port {settings.http_port}"
        raise StartError(f"{where}: {error}") from None
    return listener


if __name__ == "__main__":
    sys.exit(main())
