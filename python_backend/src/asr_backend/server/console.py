"""Output of asr-server: results on standard output, its log on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import time


def say(text: str) -> bool:
    """Prints a text; False if the reader has gone, as `head` does, or the disk is full."""
    try:
        print(text, flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            log(f"standard output: {error.strerror}")
        # Python flushes again at exit and would raise there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def log(message: str) -> None:
    """Writes one log line to standard error; errors are ignored, so that a stop always goes on."""
    with contextlib.suppress(OSError):
        stamp = time.strftime("%H:%M:%S")
        print(f"asr-server {stamp} {one_line(message)}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """A message with escapes for the control characters that a file's name may have."""
    return "".join(letter if letter >= " " else repr(letter)[1:-1] for letter in text)
