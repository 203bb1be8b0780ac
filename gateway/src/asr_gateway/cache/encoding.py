"""Transcripts as JSON, whatever fields the SDK gives them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from asr_client import Transcript


def encode(transcript: Transcript) -> bytes:
    """All fields of a transcript."""
    return json.dumps(dataclasses.asdict(transcript)).encode()


def decode(stored: bytes) -> Transcript:
    """What `encode` made, with an SDK of the same `FORM`."""
    transcript: Transcript = _read(Transcript, json.loads(stored))
    return transcript


@lru_cache
def _fields(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _read(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return kind(**{name: _read(hint, value[name]) for name, hint in _fields(kind).items()})
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], item) for item in value)
    if get_origin(kind) in (Union, types.UnionType) and value is not None:
        (kind,) = (option for option in get_args(kind) if option is not type(None))
        return _read(kind, value)
    return value


def _form(kind: Any) -> object:
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return {name: _form(hint) for name, hint in _fields(kind).items()}
    return [str(get_origin(kind) or kind), *(_form(part) for part in get_args(kind))]


FORM = hashlib.sha256(json.dumps(_form(Transcript)).encode()).hexdigest()
"""Another one for an SDK whose transcripts have other fields."""
