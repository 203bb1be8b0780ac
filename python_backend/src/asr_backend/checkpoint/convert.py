"""Copies a checkpoint, its pickled weights rewritten as safetensors: run as a program.

`asr-server convert SRC DST` runs it in a process of its own. The pickle is read with weights_only,
which takes tensors and refuses code.
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
    """Writes the checkpoint of `source` to the new folder `target`.

    Raises:
        ValueError: in one line, for a missing or unfit folder, a pickle that is not of tensors, or
            a disk without room.
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
        # Tensors that share their memory are written apart: the format has no aliases.
        weights |= {name: value.clone().contiguous() for name, value in loaded.items()}
    target.mkdir(parents=True, exist_ok=True)
    # First, as it is what a disk may have no room for: then the folder stays empty.
    converted = target / "model.safetensors"
    try:
        save_file(weights, converted, metadata={"format": "pt"})
    except SafetensorError as error:
        # Older versions of safetensors leave what they had written.
        converted.unlink(missing_ok=True)
        raise ValueError(f"{target}: {error}") from None
    for pattern in _COPIED:
        for file in source.glob(pattern):
            # The index names the shards, which are one file now.
            if file.is_file() and not file.name.endswith(".bin.index.json"):
                shutil.copyfile(file, target / file.name)


def main() -> int:
    """Converts what the command line names; returns the exit status."""
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
