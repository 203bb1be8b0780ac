"""The document `/openapi.json`: what FastAPI makes of the routes, with the gateway's own errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI

DESCRIPTION = """\
OpenAI's transcription API in front of a speech recognition service. OpenAI's clients work
unmodified:

```python
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="unused")
with open("recording.wav", "rb") as file:
    print(client.audio.transcriptions.create(model="whisper-1", file=file).text)
```

Every error has OpenAI's body. The page at [/](/) does the same in a browser.
"""

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "a sentence for a person"},
                "type": {"type": "string", "description": "OpenAI's kind of error"},
                "param": {"type": ["string", "null"], "description": "the field that is wrong"},
                "code": {"type": ["string", "null"], "description": "a word for programs"},
            },
        }
    },
    "example": {
        "error": {
            "message": "The field model is missing.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "missing_required_parameter",
        }
    },
}
_ERROR: dict[str, Any] = {
    "application/json": {"schema": {"$ref": "#/components/schemas/Error"}},
}
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")
"""Bodies that the gateway never sends."""


def openapi(app: FastAPI, *, keys: bool) -> Callable[[], dict[str, Any]]:
    """What makes the application's document, once.

    Args:
        app: whose routes are all there when the document is first asked for.
        keys: whether callers need one.
    """
    of_fastapi = app.openapi

    def make() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(of_fastapi(), keys=keys)
        assert app.openapi_schema is not None
        return app.openapi_schema

    return make


def _complete(document: dict[str, Any], *, keys: bool) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _OF_FASTAPI:
        schemas.pop(name, None)
    schemas["Error"] = _ERROR_SCHEMA
    for path, operation in _operations(document):
        responses = operation["responses"]
        responses.pop("422", None)
        for status, response in responses.items():
            if status.startswith(("4", "5")) and path.startswith("/v1/"):
                response.setdefault("content", _ERROR)
        responses["default"] = {"description": "an error", "content": _ERROR}
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, operation in _operations(document):
            if path.startswith("/v1/"):
                operation["security"] = [{"key": []}]


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation
