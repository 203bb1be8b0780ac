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

_WEIGHTS = "pytorch_model*.bin"
_COPIED = ("*.json", "*.txt", "*.md")


def convert(source: Path, target: Path) -> None:
    """Write the checkpoint in `source` to the new folder `target`.

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
        weights |= {name: value.clone().contiguous() for name, value in loaded.items()}
    target.mkdir(parents=True, exist_ok=True)
    # The weights are first, because the disk may be full: then the folder stays empty.
    converted = target / "model.safetensors"
    try:
        save_file(weights, converted, metadata={"format": "pt"})
    except SafetensorError as error:
        # Older versions of safetensors leave a partial file.
        converted.unlink(missing_ok=True)
        raise ValueError(f"{target}: {error}") from None
    for pattern in _COPIED:
        for file in source.glob(pattern):
            # The index is of the shards, which are one file now.
            if file.is_file() and not file.name.endswith(".bin.index.json"):
                shutil.copyfile(file, target / file.name)


def main() -> int:
    """Convert the folders of the command line; returns the exit status."""
    source, target = map(Path, sys.argv[1:])
    try:
        convert(source, target)
    except (ValueError, OSError) as error:
        print(f"asr-server convert: {error}", file=sys.stderr)
        return 2
    print(f"{target}: {source.name} with safetensors weights")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
