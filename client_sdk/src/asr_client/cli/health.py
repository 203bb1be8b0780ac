"""The health endpoint of `asr-server`, beside Triton's own."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus

HEALTH_PORT = 8003
TIMEOUT_S = 2.0
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """An answer of `/readyz`."""

    ready: bool
    report: object
    """The JSON document, or the text when it is none."""


def guess_url(grpc_url: str) -> str:
    """Where an `asr-server` with that gRPC address has its health endpoint by default."""
    host = grpc_url.removeprefix("dns:///").rpartition(":")[0]
    return f"http://{host}:{HEALTH_PORT}"


def read_health(url: str) -> Health:
    """Ask `/readyz`.

    Raises:
        OSError: no answer, or one that no health endpoint gives.
        ValueError: not a URL.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not an http address")
    # Health endpoints are neighbours; a proxy of the environment would not reach them.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/readyz", timeout=TIMEOUT_S) as answer:
            ready, body = True, answer.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            ready, body = False, error.read(MAX_BYTES)
    except http.client.HTTPException as error:
        raise OSError(f"not an HTTP server: {error!r}") from error
    text = body.decode(errors="replace")
    try:
        return Health(ready=ready, report=json.loads(text))
    except ValueError:
        return Health(ready=ready, report=text)
