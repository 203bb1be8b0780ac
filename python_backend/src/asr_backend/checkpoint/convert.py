"""Copies a checkpoint and rewrites its pickled weights as safetensors.

It is a program: `asr-server convert SRC DST` runs it in a process of its own. The pickle is read
with weights_only, which accepts tensors and refuses code.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from asr_backend.checkpoint.files import LANGUAGE_MODEL

_WEIGHTS = "pytorch_model*.bin"
_ADAPTERS = "adapter.*.bin"
# What the server reads, and the pages that say what the checkpoint is.
_COPIED = (
    "*.json",
    "*.txt",
    "*.md",
    "LICENSE*",
    "adapter.*.safetensors",
    f"{LANGUAGE_MODEL}/**/*",
)


def convert(source: Path, target: Path) -> list[str]:
    """Write the checkpoint in `source` to the new folder `target`.

    Returns:
        The names of files that are not in the copy, because the server does not read them.

    Raises:
        ValueError: a folder is missing or unsuitable, the pickle has more than tensors, or the disk
            is full; the message is one line.
    """
    files = sorted(source.glob(_WEIGHTS))
    if not files:
        raise ValueError(f"{source}: has no pytorch_model.bin")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target}: exists and is not an empty folder")
    weights: dict[str, torch.Tensor] = {}
    for file in files:
        weights |= _tensors(file)
    adapters = {file: _tensors(file) for file in sorted(source.glob(_ADAPTERS))}
    target.mkdir(parents=True, exist_ok=True)
    # The weights are first, because the disk may be full: then the folder stays empty.
    _save(weights, target / "model.safetensors")
    for file, adapter in adapters.items():
        _save(adapter, target / file.with_suffix(".safetensors").name)
    done = {*files, *adapters}
    for pattern in _COPIED:
        for file in source.glob(pattern):
            if not file.is_file():
                continue
            done.add(file)
            copy = target / file.relative_to(source)
            # The index is of the shards, which are one file now.
            if not file.name.endswith(".bin.index.json") and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    return sorted(
        str(path)
        for file in source.rglob("*")
        if file.is_file() and file not in done
        # Not the hub's cache or the repository that the files came in.
        if not (path := file.relative_to(source)).parts[0].startswith(".")
    )


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle fails in any way
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "cut short"
        raise ValueError(f"{file}: not a file of plain tensors: {reason}") from None
    if not isinstance(loaded, dict) or not all(
        isinstance(value, torch.Tensor) for value in loaded.values()
    ):
        raise ValueError(f"{file}: not a dictionary of tensors")
    # Tensors that share memory are written separately: the format has no aliases.
    return {name: value.clone().contiguous() for name, value in loaded.items()}


def _save(weights: dict[str, torch.Tensor], file: Path) -> None:
    try:
        save_file(weights, file, metadata={"format": "pt"})
    except SafetensorError as error:
        # Older versions of safetensors leave a partial file.
        file.unlink(missing_ok=True)
        raise ValueError(f"{file.parent}: {error}") from None


def main() -> int:
    """Convert the folders of the command line; returns the exit status."""
    source, target = map(Path, sys.argv[1:])
    try:
        left_out = convert(source, target)
    except (ValueError, OSError) as error:
        print(f"asr-server convert: {error}", file=sys.stderr)
        return 2
    print(f"{target}: {source.name} with safetensors weights")
    if left_out:
        print(f"not copied, because the server does not read them: {', '.join(left_out)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
