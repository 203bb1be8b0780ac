"""Why a model could not start: one line in Triton's log, and a file that asr-server reads.

Triton reports the exception too, but in the middle of a traceback and a table.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asr_backend.triton_io.progress import PREFIX_VARIABLE

_MAX_LETTERS = 2000


@contextmanager
def reported(model: str, pb_utils: Any) -> Iterator[None]:
    """Report an exception of the block, which loads a model, and raise it again."""
    try:
        yield
    except Exception as error:
        reason = one_line(error)
        pb_utils.Logger.log_error(f"{model} cannot start: {reason}")
        if prefix := os.environ.get(PREFIX_VARIABLE):
            # Shared memory may be full, which may be the reason itself.
            with contextlib.suppress(OSError):
                _file(prefix, model).write_text(reason, encoding="utf-8", errors="replace")
        raise


def one_line(error: Exception) -> str:
    """The message of an exception in one line, with its type if it has no message."""
    return " ".join(str(error).split())[:_MAX_LETTERS] or repr(error)


def read_reason(prefix: str, model: str) -> str | None:
    """The reason that a model reported; None if it reported none.

    Args:
        prefix: the value of PREFIX_VARIABLE in the model's process.
        model: its name.
    """
    try:
        return _file(prefix, model).read_text(encoding="utf-8")
    except OSError:
        return None


def _file(prefix: str, model: str) -> Path:
    return Path(f"{prefix}reason-{model}")
