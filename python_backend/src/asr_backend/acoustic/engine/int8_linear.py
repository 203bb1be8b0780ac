"""Linear layers in int8 on torch, each frame scaled by itself.

torch's own dynamic quantisation takes one scale for a whole batch: a quiet clip beside a loud one
would keep few of its digits.
"""

from __future__ import annotations

import torch
from torch import nn


class Int8Linear(nn.Module):
    """A linear layer with a scale for each output, and one for each row that it is given."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # Plain attributes: a cast of the whole model must leave the scales as exact as they are.
        scale, whole = _quantize(linear.weight.detach().float())
        self._weight, self._scale = whole.T, scale.T
        self._bias = linear.bias.detach().float()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out], of the inputs' type."""
        scale, whole = _quantize(inputs.reshape(-1, inputs.shape[-1]).float())
        product = torch._int_mm(whole, self._weight) * (scale * self._scale)
        return (product + self._bias).to(inputs.dtype).reshape(*inputs.shape[:-1], -1)


def _quantize(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales [rows, 1] and int8 [rows, width], their product the rows."""
    scale = rows.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
    return scale, torch.round(rows / scale).to(torch.int8)


def use_int8(module: nn.Module) -> None:
    """Put an Int8Linear in the place of every linear layer under `module`.

    Language adapters stay as they are: they are small, and exchanged while the network serves.
    """
    for name, child in module.named_children():
        if name == "adapter_layer":
            continue
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            use_int8(child)
