"""Encoder layers compiled by torch: while the model loads, never for a request.

All layers of an encoder share what is compiled, and lengths are not written into it: any number of
windows of any lengths is one of three forms, so that nothing is padded to a bucket. What none of
them fits, which is a forward of one frame, runs as if nothing were compiled.

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
"""Samples of the windows that are compiled for: one, several of one length, several of unequal."""


def compile_layers(
    model: Any, forward: Callable[[Sequence[npt.NDArray[np.float32]]], object]
) -> None:
    """Compile the encoder's layers for all that `forward` may bring; takes about half a minute.

    Args:
        model: Hugging Face's, on its device and in its precision.
        forward: runs windows through it.
    """
    import torch._inductor.config as inductor

    # Else torch starts processes of its own, which would outlive a killed instance.
    inductor.compile_threads = 1
    # Triton's stub leaves it at C, and torch reads templates that are not ASCII in its encoding.
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    for layer in model.base_model.encoder.layers:
        layer.compile(dynamic=True, fullgraph=True)
    for lengths in _FORMS:
        forward([np.zeros(length, np.float32) for length in lengths])


def nothing_more() -> AbstractContextManager[None]:
    """Within it, what was not compiled before runs as it is."""
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
