"""Reading, changing and writing Triton's config.pbtxt: the text format of protocol buffers.

A message is a list of (name, value) in the file's order, repeated fields repeated; a value is a
scalar as written, or a message. Model configurations use no more of the format, and this needs no
copy of Triton's schema.
"""

from __future__ import annotations

import json
import re
from typing import Union

Message = list[tuple[str, "Value"]]
Value = Union[str, Message]  # noqa: UP007 - recursive, so not with | at run time

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<token>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[\w.+-]+|[{}<>\[\]:,;])"""
)


def loads(text: str) -> Message:
    """The message in `text`.

    Raises:
        ValueError: if the text is not in the format.
    """
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ValueError(f"line {line}: not protobuf text: {text[position : position + 20]!r}")
        if match["token"]:
            tokens.append(match["token"])
        position = match.end()
    reader = _Reader(tokens)
    message = reader.message(until="")
    return message


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._next = 0

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1]

    def message(self, *, until: str) -> Message:
        fields: Message = []
        while (name := self._take()) != until:
            if not re.match(r"[A-Za-z_]", name):
                raise ValueError(f"expected a field's name, found {name!r}")
            if self._peek() == ":":
                self._take()
            if self._peek() == "[":
                self._take()
                while self._peek() != "]":
                    fields.append((name, self._value()))
                    if self._peek() == ",":
                        self._take()
                self._take()
            else:
                fields.append((name, self._value()))
            if self._peek() in (",", ";"):
                self._take()
        return fields

    def _value(self) -> Value:
        token = self._take()
        if token in ("{", "<"):
            return self.message(until="}" if token == "{" else ">")
        if not token or token in "}>[]:,;":
            raise ValueError(f"expected a value, found {token!r}")
        while token[0] in "\"'" and self._peek()[:1] == token[0]:
            token = token[:-1] + self._take()[1:]
        return token


def dumps(message: Message, indent: str = "") -> str:
    """The message as text, one field a line."""
    lines = []
    for name, value in message:
        if isinstance(value, str):
            lines.append(f"{indent}{name}: {value}\n")
        else:
            lines.append(f"{indent}{name} {{\n{dumps(value, indent + '  ')}{indent}}}\n")
    return "".join(lines)


def quote(text: str) -> str:
    """A string as a scalar, in ASCII: letters beyond it are octal escapes of their UTF-8."""
    return "".join(
        letter if letter.isascii() else "".join(f"\\{byte:03o}" for byte in letter.encode())
        for letter in json.dumps(text, ensure_ascii=False)
    )


def put(message: Message, name: str, value: Value) -> None:
    """Sets the field `name` to the single `value`, in the place of its old values."""
    places = [index for index, (key, _) in enumerate(message) if key == name]
    at = places[0] if places else len(message)
    message[:] = [field for field in message if field[0] != name]
    message.insert(at, (name, value))


def child(message: Message, name: str) -> Message:
    """The message in the field `name`; an empty one is added if there is none."""
    for key, value in message:
        if key == name and not isinstance(value, str):
            return value
    made: Message = []
    message.append((name, made))
    return made


def put_parameter(config: Message, key: str, text: str) -> None:
    """Sets a model parameter: an entry of the map `parameters` with a string value."""
    value: Message = [("key", quote(key)), ("value", [("string_value", quote(text))])]
    for index, (name, entry) in enumerate(config):
        if name == "parameters" and not isinstance(entry, str) and ("key", quote(key)) in entry:
            config[index] = ("parameters", value)
            return
    config.append(("parameters", value))
