"""What asr-server's commands print on standard output."""

from __future__ import annotations

import os
import sys


def say(text: str) -> bool:
    """Prints a text; False when its reader is gone, as `head` is after its lines."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python's own flush at the end would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
