"""Runs a model in fp32 temporarily, for windows whose activations overflow fp16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def in_fp32(model: nn.Module) -> Iterator[None]:
    """Within it, the model's weights are fp32; the copies take 4 bytes a weight.

    The original weights come back afterwards. Nothing is allocated for that, so it cannot fail.
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
