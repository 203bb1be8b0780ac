"""A model in fp32 for a moment: for windows whose activations overflow fp16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def in_fp32(model: nn.Module) -> Iterator[None]:
    """Within it, the model's weights are fp32; they take 4 bytes each beside those that it has.

    The weights that it had come back afterwards, as they were: nothing is allocated for that, so
    that it cannot fail.
    """
    held = [
        (tensor, tensor.data)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.is_floating_point()
    ]
    try:
        for tensor, values in held:
            tensor.data = values.to(torch.float32)
        yield
    finally:
        for tensor, values in held:
            tensor.data = values
