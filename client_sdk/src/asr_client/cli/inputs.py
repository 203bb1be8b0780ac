"""The recordings that the arguments of `asr transcribe` name: files, folders, standard input."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STDIN = "-"
_KINDS = (
    "wav w64 aif aiff aifc au snd caf flac mp2 mp3 aac amr awb asf wma ogg oga opus mov mp4 m4a "
    "m4v mkv mka webm"
)
SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split(" "))
"""Files with these endings are the recordings of a folder; raw samples have any ending."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One recording."""

    name: str
    """As it is shown."""
    audio: Path | bytes
    """The file, or the content of standard input."""
    place: Path
    """Its place under --output-dir, with the recording's own ending."""


def read_inputs(arguments: Sequence[Path], *, raw: bool, max_bytes: int) -> list[Input]:
    """The recordings that the arguments name, those of a folder sorted by their paths.

    Args:
        arguments: files, folders, and `-` for standard input.
        raw: whether the recordings are raw samples.
        max_bytes: no more than one byte above it is read from standard input.

    Raises:
        ValueError: a folder has no recordings, or standard input is named twice.
    """
    found: list[Input] = []
    for argument in arguments:
        if str(argument) == STDIN:
            if any(isinstance(one.audio, bytes) for one in found):
                raise ValueError("standard input can be read once only")
            audio = sys.stdin.buffer.read(max_bytes + 1)
            found.append(Input(name=STDIN, audio=audio, place=Path("stdin")))
        elif argument.is_dir():
            inside = sorted(_recordings(argument, raw=raw))
            if not inside:
                raise ValueError(f"{argument}: the folder has no recordings")
            found += [
                Input(name=str(file), audio=file, place=file.relative_to(argument))
                for file in inside
            ]
        else:
            found.append(Input(name=str(argument), audio=argument, place=Path(argument.name)))
    return found


def target_paths(inputs: Sequence[Input], folder: Path, suffix: str) -> list[Path]:
    """The output file of each recording.

    Raises:
        ValueError: two of them are the same, or one is a recording.
    """
    targets = [folder / one.place.parent / f"{one.place.stem}.{suffix}" for one in inputs]
    target, count = Counter(targets).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{count} of the files would be written to {target}")
    for one, target in zip(inputs, targets, strict=True):
        if isinstance(one.audio, Path) and one.audio.resolve() == target.resolve():
            raise ValueError(f"{one.audio} would be overwritten by its transcript")
    return targets


def _recordings(folder: Path, *, raw: bool) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and (raw or Path(name).suffix.lower() in SUFFIXES):
                yield Path(parent, name)
