"""What asr-server keeps of a checkpoint: the precision that was measured, and the prepared network.

An entry is a folder with `entry.json`, which has the hash of every other file. It is written beside
its place and renamed, so a reader finds all of it or nothing. The processes that write it, check it
and serve from it share this file; it needs neither torch nor OpenVINO.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_backend.checkpoint.files import sha256_of

_ENTRY = "entry.json"


class BrokenEntryError(Exception):
    """An entry is missing, incomplete or changed; the message says which file."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a checkpoint on this machine.

    Attributes:
        key: hash of all that the rest depends on.
        precision: fp32, bf16, fp16 or int8, in which `wav2vec2` is to run.
        measured: how `auto` found it, a line for people; "" where it was named.
        files: sha256 of each file of the prepared network, by name; empty without one.
    """

    key: str
    precision: str
    measured: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def write_entry(
    folder: Path, *, key: str, precision: str, measured: str, names: tuple[str, ...]
) -> None:
    """Complete an entry whose files `names` are in the folder.

    Raises:
        OSError: it cannot be written.
    """
    content = {
        "key": key,
        "precision": precision,
        "measured": measured,
        "files": {name: sha256_of(folder / name) for name in names},
    }
    (folder / _ENTRY).write_text(json.dumps(content))


def read_entry(folder: Path) -> Entry:
    """Read an entry, whose folder is named after its key, and compare its files with their hashes.

    Raises:
        BrokenEntryError: it is not there, of another key, or not as it was written.
    """
    try:
        content: Any = json.loads((folder / _ENTRY).read_text())
        entry = Entry(
            key=content["key"],
            precision=content["precision"],
            measured=content["measured"],
            files=dict(content["files"]),
        )
        if entry.key != folder.name:
            raise BrokenEntryError(f"{folder}: {_ENTRY} is of {entry.key}")
        for name, expected in entry.files.items():
            if sha256_of(folder / name) != expected:
                raise BrokenEntryError(f"{folder}: {name} has changed")
    except OSError as error:
        raise BrokenEntryError(f"{error.filename}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError) as error:
        raise BrokenEntryError(f"{folder}: {_ENTRY} is damaged: {error!r}") from None
    return entry
