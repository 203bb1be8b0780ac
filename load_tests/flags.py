"""What flags of several programs may be: a number out of range is a wrong flag, not an odd run."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def count(text: str) -> int:
    """A whole number from 1 on."""
    return _at_least(1, int(text))


def count_or_none(text: str) -> int:
    """A whole number from 0 on."""
    return _at_least(0, int(text))


def seconds(text: str) -> float:
    """A time above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def seconds_or_none(text: str) -> float:
    """A time, or 0."""
    return 0.0 if float(text) == 0 else seconds(text)


def several(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Values with commas between them, each once."""

    def read(text: str) -> list[T]:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))

    read.__name__ = "list"
    return read


def writable(path: str) -> str:
    """A file to be written; raises OSError now and not after a long run where it cannot be."""
    Path(path).open("a").close()
    return path


def _at_least(least: int, value: int) -> int:
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is not {least} or more")
    return value
