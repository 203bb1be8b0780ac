"""What asr-server says: results on standard output, its own log on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import time


def say(text: str) -> bool:
    """Prints a text; False when its reader is gone, as `head` after its lines, or a disk full."""
    try:
        print(text, flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            log(f"standard output: {error.strerror}")
        # Python's own flush at the end would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def log(message: str) -> None:
    """One line of asr-server's own on standard error; a stop goes on though nobody reads it."""
    with contextlib.suppress(OSError):
        print(f"asr-server {time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
