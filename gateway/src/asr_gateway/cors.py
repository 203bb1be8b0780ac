"""Web pages of other sites that may call the gateway: `--cors`."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from asr_gateway.console import StartError

METHODS = ("GET", "POST", "DELETE")
READABLE_HEADERS = (
    "x-request-id",
    "x-asr-call-id",
    "x-asr-cache",
    "location",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)
"""Headers of answers that a page may read, besides those of every answer."""
PREFLIGHT_S = 600


def origins(text: str) -> tuple[str, ...]:
    """The origins of `--cors`.

    Raises:
        StartError: one is not of the form that a browser sends, or it is `*` or `null`.
    """
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in found:
        if not _is_origin(origin):
            raise StartError(
                f"--cors {origin!r}: an origin is https://HOST or http://HOST:PORT in lower case, "
                "without a path and without the scheme's own port"
            )
    return found


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname or "*" in text:
        return False
    # Compared with the header as it is, so only the form that browsers send can ever match.
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    own_port = {"http": 80, "https": 443}[parts.scheme]
    shown = host if port is None else f"{host}:{port}"
    return port != own_port and text.isascii() and text == f"{parts.scheme}://{shown}"


def allow(app: FastAPI, allowed: tuple[str, ...]) -> None:
    """Answer the preflights of the allowed origins, and mark answers, errors too, as readable.

    Credentials are not allowed: a page sends the key itself, in Authorization.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=allowed,
        allow_methods=METHODS,
        allow_headers=["*"],
        expose_headers=READABLE_HEADERS,
        # Chromium asks so before a page of the internet may call an address of a private network.
        allow_private_network=True,
        max_age=PREFLIGHT_S,
    )
