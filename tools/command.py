"""What the command lines of all programs share: the parser, ranges of numbers, and the exit."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

T = TypeVar("T")


def make_parser(module: str, doc: str | None, epilog: str = "") -> argparse.ArgumentParser:
    """A parser for `python -m MODULE`.

    Args:
        module: without `.__main__`.
        doc: the module's docstring; its first paragraph is the description.
        epilog: printed after the flags.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=(doc or "").split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog=epilog,
    )


def run_main(main: Callable[[], int], stopped: str = "stopped") -> NoReturn:
    """Exit with the status of `main`, or after SIGTERM or Ctrl-C with the status of a shell.

    SIGTERM raises SystemExit, so that `with` blocks stop the servers that they have started.

    Args:
        main: the program.
        stopped: printed after Ctrl-C.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def count(text: str) -> int:
    """A whole number from 1 on."""
    return _whole_number(1, text)


def count_or_zero(text: str) -> int:
    """A whole number from 0 on."""
    return _whole_number(0, text)


def seconds(text: str) -> float:
    """A time above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def seconds_or_zero(text: str) -> float:
    """A time, or 0."""
    return 0.0 if float(text) == 0 else seconds(text)


def several(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Values with commas between them, each once."""

    def read(text: str) -> list[T]:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))

    read.__name__ = "list"
    return read


def writable(path: str) -> str:
    """A file to write; raises OSError before a long run and not after it."""
    Path(path).open("a").close()
    return path


def _whole_number(minimum: int, text: str) -> int:
    value = int(text)
    if value < minimum:
        raise argparse.ArgumentTypeError(f"{value} is not {minimum} or more")
    return value
