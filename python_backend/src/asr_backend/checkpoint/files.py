"""The files of a checkpoint's folder, read with care: what is wrong with one is one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any


class CheckpointError(Exception):
    """The folder cannot be served; the message is one line for a person."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it is missing or holds something else.
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
    """The same, {} for a file that is missing."""
    return read_json(path) if path.exists() else {}


def check_safetensors(path: Path) -> dict[str, Any]:
    """The header of a file of weights: by name, `dtype`, `shape` and `data_offsets`.

    What was cut short, or a Git LFS pointer, is found here, not in torch.

    Raises:
        CheckpointError: it is missing, cut short or of another kind.
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
    """Where a checkpoint's folder has the adapter of a language, if it has one."""
    return path / f"adapter.{language}.safetensors"
