"""The library that is preloaded into tritonserver 24.10 (docs/triton.md, "The guard")."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).with_name("tritonserver_guard")
LIBRARY = "libasr_tritonserver_guard.so"
RELEASE = (24, 10)
"""The only Triton release that it is made for and tested with."""


@functools.cache
def problem() -> str | None:
    """The loader's error if this machine cannot load the library, else None."""
    try:
        ctypes.CDLL(str(FOLDER / LIBRARY))
    except OSError as error:
        return str(error)
    return None


def variables(base: Mapping[str, str]) -> dict[str, str]:
    """`base` with the variables that preload the library.

    The library removes itself from LD_PRELOAD, so that child processes do not get it. It is named
    without its folder, because a path with a space cannot be preloaded.
    """
    preload = [LIBRARY, base.get("LD_PRELOAD", "")]
    folders = [base.get("LD_LIBRARY_PATH", ""), str(FOLDER)]
    return {
        **base,
        "LD_PRELOAD": ":".join(filter(None, preload)),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders)),
    }
