"""The page at `/`, and the API's description at `/docs`; both work without the internet."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.responses import Response

_HTML = "text/html; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
_STYLE = "text/css; charset=utf-8"

SWAGGER_UI = "swagger-ui-bundle.js"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy: everything comes from the gateway. blob: is a recording that the user
chose; data: has the small pictures in Swagger UI's style sheet."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """A file that browsers get."""

    body: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Names this content."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'


def _assets() -> dict[str, Asset]:
    own, swagger = resources.files(__name__), resources.files(fastapi_offline) / "static"
    sources = {
        "/": (own / "page.html", _HTML),
        "/docs": (own / "docs.html", _HTML),
        "/web/page.css": (own / "page.css", _STYLE),
        "/web/page.js": (own / "page.js", _SCRIPT),
        "/web/docs.js": (own / "docs.js", _SCRIPT),
        "/web/icon.svg": (own / "icon.svg", "image/svg+xml"),
        "/web/swagger-ui.css": (swagger / "swagger-ui.css", _STYLE),
        f"/web/{SWAGGER_UI}": (swagger / SWAGGER_UI, _SCRIPT),
    }
    return {path: Asset(file.read_bytes(), kind) for path, (file, kind) in sources.items()}


ASSETS = _assets()
PATHS = frozenset(ASSETS)
"""All paths of the pages. They hold nothing secret and need no key."""


def _serving(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        # A browser asks each time whether its copy is still right.
        "cache-control": "no-cache",
        "etag": asset.etag,
    }

    async def serve(request: Request) -> Response:
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(asset.body, media_type=asset.media_type, headers=headers)

    return serve


for _path, _asset in ASSETS.items():
    router.add_api_route(_path, _serving(_asset), methods=["GET", "HEAD"])
