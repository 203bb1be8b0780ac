"""The manifest of `asr batch`: one JSON object a line, each a recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from asr_client import _options
from asr_client._recording import Recording

KEYS = ("audio", "id", *_options.NAMES)


class ManifestError(Exception):
    """The manifest cannot be used; the text names the line."""


@dataclass(frozen=True, eq=False, repr=False)
class Line(Recording):
    """A line of the manifest; `audio` is the file's path, relative to the manifest's folder."""

    _: KW_ONLY
    key: str | int
    """Its id, else its audio as it is written: what its result is called by."""
    name: str
    """Its audio as it is written."""


def read_keys(manifest: Path) -> set[str | int]:
    """What the lines' results are called by, after a look at each line.

    Raises:
        ManifestError: one is not as it should be, or is called like another, or there is no such
            file.
    """
    numbers: dict[str | int, int] = {}
    for number, line in _numbered(manifest):
        first = numbers.setdefault(line.key, number)
        if first != number:
            raise ManifestError(
                f"{manifest}, line {number}: {json.dumps(line.key, ensure_ascii=False)} is line "
                f'{first} already; give each an "id" of its own'
            )
    return set(numbers)


def read_lines(manifest: Path) -> Iterator[Line]:
    """The recordings, read as they are asked for; raises as `read_keys` does."""
    for _, line in _numbered(manifest):
        yield line


def _numbered(manifest: Path) -> Iterator[tuple[int, Line]]:
    try:
        file = manifest.open("rb")
    except OSError as error:
        raise ManifestError(f"{manifest}: {error.strerror}") from error
    with file:
        for number, text in enumerate(file, 1):
            if text.strip():
                try:
                    yield number, _line(text, manifest.parent)
                except ValueError as error:
                    raise ManifestError(f"{manifest}, line {number}: {error}") from error


def _line(text: bytes, folder: Path) -> Line:
    try:
        fields = json.loads(text.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    if unknown := fields.keys() - set(KEYS):
        raise ValueError(f'unknown key "{min(unknown)}"; the keys are {", ".join(KEYS)}')
    name = fields.pop("audio", None)
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError('"audio" must be the path of a file')
    key = fields.get("id")
    if key is None:
        key = name
    elif isinstance(key, bool) or not isinstance(key, (str, int)):
        raise ValueError('"id" must be a string or an integer')
    # JSON can escape halves of characters, which no file can hold.
    f"{key}{name}".encode()
    return Line(folder / name, key=key, name=name, **fields)
