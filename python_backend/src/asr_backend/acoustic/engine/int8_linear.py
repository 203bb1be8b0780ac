"""Linear layers in int8 on torch with a scale for each frame.

torch's dynamic quantisation has one scale for a whole batch: a quiet clip beside a loud one would
lose precision.
"""

from __future__ import annotations

import torch
from torch import nn


class Int8Linear(nn.Module):
    """A linear layer in int8 with a scale for each output and for each input row."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # Plain attributes, not buffers: a cast of the model must not round the scales.
        scale, whole = _quantize(linear.weight.detach().float())
        self._weight, self._scale = whole.T, scale.T
        self._bias = linear.bias.detach().float()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map [..., in] to [..., out] in the dtype of the inputs."""
        scale, whole = _quantize(inputs.reshape(-1, inputs.shape[-1]).float())
        product = torch._int_mm(whole, self._weight) * (scale * self._scale)
        return (product + self._bias).to(inputs.dtype).reshape(*inputs.shape[:-1], -1)


def _quantize(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales [rows, 1] and int8 [rows, width] whose product is the rows."""
    scale = rows.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
    return scale, torch.round(rows / scale).to(torch.int8)


def use_int8(module: nn.Module) -> None:
    """Replace every linear layer under `module` by an Int8Linear.

    Language adapters stay as they are: they are small, and exchanged while the network serves.
    """
    for name, child in module.named_children():
        if name == "adapter_layer":
            continue
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            use_int8(child)
