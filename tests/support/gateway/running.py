"""A gateway for tests, in a thread of this process."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import httpx2

from asr_client.testing import FakeServer, ReceivedRequest
from asr_gateway.app import create_app
from asr_gateway.cli import Server, listen, uvicorn_config
from asr_gateway.metrics import Metrics
from asr_gateway.settings import Settings
from tests.support.client.waiting import wait_until


class RunningGateway:
    """A gateway that serves, and ways to call it."""

    def __init__(self, address: tuple[str, int], server: Server, metrics: Metrics) -> None:
        self.address = address
        self.url = f"http://{address[0]}:{address[1]}"
        self.server = server
        self.metrics = metrics
        self.http = httpx2.Client(base_url=self.url, timeout=20)

    @property
    def parts(self) -> Any:
        """What the routes use; calls wait for the start by themselves, this has to."""
        wait_until(lambda: self.server.started)
        return self.server.config.app.state.gateway  # type: ignore[union-attr]

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric now; 0 for one that has none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout=20)


@contextlib.contextmanager
def running(server: str, **settings: Any) -> Iterator[RunningGateway]:
    """Serve on a free port in front of the asr-server at an address, and stop in the end.

    The store is a temporary one, unless the settings name one.
    """
    with tempfile.TemporaryDirectory(prefix="asr-gateway-") as folder:
        store = f"sqlite:///{folder}/store.sqlite3"
        chosen = Settings(server=server, http_port=0, **{"store": store, **settings})
        with _serving(chosen) as gateway:
            yield gateway


@contextlib.contextmanager
def _serving(chosen: Settings) -> Iterator[RunningGateway]:
    metrics = Metrics()
    with listen(chosen) as listener:
        config = uvicorn_config(create_app(chosen, metrics), chosen, metrics)
        uvicorn_server = Server(config)
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
        thread.start()
        gateway = RunningGateway(listener.getsockname()[:2], uvicorn_server, metrics)
        try:
            with gateway.http:
                yield gateway
        finally:
            uvicorn_server.should_exit = True
            thread.join()


def uploads(server: FakeServer) -> list[ReceivedRequest]:
    """What callers sent; the gateway's own question for the model is raw silence."""
    return [request for request in server.requests if b"pcm_s16le" not in request.options]
