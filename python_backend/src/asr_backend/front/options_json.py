"""Reads the JSON of an OPTIONS element into a pydantic model, and refuses what does not fit."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from asr_backend.errors import AsrError, ErrorCode, quoted

Model = TypeVar("Model", bound=BaseModel)


def read_object(raw: bytes, kind: type[Model], *, max_bytes: int) -> Model:
    """Read a JSON object.

    Args:
        raw: JSON in UTF-8.
        kind: the model; the description of each field is the range that a refusal quotes.
        max_bytes: longer JSON is refused.

    Raises:
        AsrError: BAD_OPTIONS, with the key and the values it allows.
    """
    if len(raw) > max_bytes:
        refuse(f"OPTIONS has {len(raw)} bytes, the limit is {max_bytes}")
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        refuse(f"OPTIONS is not UTF-8: byte {error.start} does not decode")
    except json.JSONDecodeError as error:
        refuse(f"OPTIONS is not JSON: {error.msg} at character {error.pos}")
    except (ValueError, RecursionError):
        refuse("OPTIONS is not JSON: a number is too long or the nesting too deep")
    if not isinstance(value, dict):
        refuse(f"OPTIONS must be a JSON object such as {{}}, not {quoted(value)}")
    for key in value:
        if key not in kind.model_fields:
            refuse(f"unknown key {quoted(key)}; the keys are {', '.join(kind.model_fields)}")
        # None stands for an absent key; JSON's null is a wrong type.
        if value[key] is None:
            _refuse_value(kind, key, None)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        if key not in value:
            refuse(f"{key} is required, {kind.model_fields[key].description}")
        _refuse_value(kind, key, value[key])


def refuse(detail: str) -> NoReturn:
    """Raise BAD_OPTIONS."""
    raise AsrError(ErrorCode.BAD_OPTIONS, detail)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            refuse(f"key {quoted(key)} stands twice")
        value[key] = item
    return value


def _no_constant(name: str) -> NoReturn:
    refuse(f"{name} is not a JSON number")


def _refuse_value(kind: type[BaseModel], key: str, value: object) -> NoReturn:
    refuse(f"{key} must be {kind.model_fields[key].description}, not {quoted(value)}")
