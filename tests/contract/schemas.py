"""contract/v1 as checks."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

FOLDER = Path(__file__).parents[2] / "contract" / "v1"


def _document(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


OPTIONS: dict[str, Any] = _document("options.schema.json")
RESULT: dict[str, Any] = _document("result.schema.json")
STREAM_OPTIONS: dict[str, Any] = _document("stream_options.schema.json")
STREAM_RESULT: dict[str, Any] = _document("stream_result.schema.json")


def _words(validator: Any, most: int, value: Any, schema: Any) -> Iterator[ValidationError]:
    words = sum(len(text.split()) for text in value if isinstance(text, str))
    if words > most:
        yield ValidationError(f"{words} words, at most {most} are allowed")


def _is_integer(checker: Any, value: object) -> bool:
    """The contract's integers have no fraction: JSON Schema takes 16000.0 for one."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = validators.extend(
    Draft202012Validator,
    {"x-maxWords": _words},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def allows(options: Any, schema: dict[str, Any] = OPTIONS) -> bool:
    """Whether the contract allows these OPTIONS: the schema, and the rule in its $comment."""
    if not _Validator(schema).is_valid(options):
        return False
    channels, channel = options.get("channels"), options.get("channel")
    return channels is None or not isinstance(channel, int) or channel < channels


def closed(schema: dict[str, Any]) -> Any:
    """A validator of today's document: keys that a later server may add are errors."""
    made = copy.deepcopy(schema)
    todo: list[Any] = [made]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if "properties" in part:
                part["additionalProperties"] = False
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return _Validator(made)
