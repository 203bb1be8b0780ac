"""A transcript as JSON: the server's RESULT, with keys that name the recording before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from asr_client._json import CONTRACT
from asr_client._types import Timestamps, Transcript

_ASKED_FOR: dict[str, tuple[str, ...]] = {"words": ("word", "char"), "chars": ("char",)}


def result(transcript: Transcript, timestamps: Timestamps) -> dict[str, Any]:
    """RESULT, as docs/contract.md has it: a key that was not asked for is absent."""
    document = asdict(transcript, dict_factory=_given)
    document.pop("request_id")
    asked_for = {
        key: value
        for key, value in document.items()
        if (timestamps in _ASKED_FOR[key] if key in _ASKED_FOR else value != ())
    }
    return asked_for | {"contract": CONTRACT}


def line(fields: Mapping[str, Any]) -> str:
    """A line of JSON that UTF-8 can encode, whatever bytes a file's name has."""
    text = json.dumps(fields, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(fields)
    return text + "\n"


def _given(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if value is not None}
