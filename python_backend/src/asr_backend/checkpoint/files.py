"""Reads the files of a checkpoint's folder; every problem is an error of one line."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

LANGUAGE_MODEL = "language_model"
"""The folder of a language model in a checkpoint's folder."""

_BLOCK_BYTES = 1 << 20


class CheckpointError(Exception):
    """The folder cannot be served. The message is one line."""


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        CheckpointError: the file is missing or contains no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: is not a JSON object")
    return content


def read_json_if_there(path: Path) -> dict[str, Any]:
    """The same; {} if the file is missing."""
    return read_json(path) if path.exists() else {}


def check_safetensors(path: Path) -> dict[str, Any]:
    """Read the header of a file of weights: `dtype`, `shape` and `data_offsets` by name.

    Truncated files and Git LFS pointers are found here, before torch reads them.

    Raises:
        CheckpointError: the file is missing, truncated or of another kind.
    """
    try:
        with path.open("rb") as file:
            (header_size,) = struct.unpack("<Q", file.read(8))
            size = path.stat().st_size
            header = json.loads(file.read(header_size)) if header_size < size else {}
        data_size = max(
            entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"
        )
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: has no {path.name}") from None
    except (OSError, ValueError, struct.error, LookupError, TypeError, AttributeError):
        raise CheckpointError(f"{path}: not a safetensors file") from None
    if size != 8 + header_size + data_size:
        raise CheckpointError(
            f"{path}: {size} bytes, its header says {8 + header_size + data_size}; "
            "was the download cut short?"
        )
    return dict(header)


def adapter_file(path: Path, language: str) -> Path:
    """The path of a language's adapter in a checkpoint's folder; the file may be missing."""
    return path / f"adapter.{language}.safetensors"


def sha256_of(path: Path) -> str:
    """Hash of a file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    hasher = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            hasher.update(block[:count])
    return hasher.hexdigest()
