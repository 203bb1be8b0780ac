"""Compiles encoder layers with torch while the model loads, never for a request.

All layers of an encoder share the compiled code, and lengths are not part of it. Every forward has
one of three forms, so nothing is padded to a bucket. A forward that fits none of them (of a single
frame) runs uncompiled.

`python -m asr_backend.acoustic.engine.compilation` compiles a few lines for the GPU, to tell
whether this machine can.
"""

from __future__ import annotations

import locale
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

_FORMS = ((16_000,), (16_000, 16_000), (16_000, 24_000))
"""Samples of the windows of each form: one window, several of one length, of different lengths."""


def compile_layers(
    model: Any, forward: Callable[[Sequence[npt.NDArray[np.float32]]], object]
) -> None:
    """Compile the encoder's layers for every forward to come; takes about half a minute.

    Args:
        model: Hugging Face's, on its device and in its precision.
        forward: runs windows through it.
    """
    import torch._inductor.config as inductor

    # Otherwise torch starts compile processes, which would outlive a killed instance.
    inductor.compile_threads = 1
    # Triton's stub leaves the locale at C, but torch reads templates that are not ASCII.
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    for layer in model.base_model.encoder.layers:
        layer.compile(dynamic=True, fullgraph=True)
    for lengths in _FORMS:
        forward([np.zeros(length, np.float32) for length in lengths])


def nothing_more() -> AbstractContextManager[None]:
    """Within it, nothing is compiled: a forward without compiled code runs uncompiled."""
    stance: AbstractContextManager[None] = torch.compiler.set_stance("eager_on_recompile")
    return stance


def main() -> int:
    """Compile a few lines for the GPU; where that fails, print one line and return status 1."""
    try:
        torch.compile(lambda numbers: numbers.sin() + 1)(torch.zeros(64, device="cuda"))
    except Exception as error:
        lines = str(error.__cause__ or error).splitlines()
        print(next((line for line in lines if "error:" in line), lines[0]).strip())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
