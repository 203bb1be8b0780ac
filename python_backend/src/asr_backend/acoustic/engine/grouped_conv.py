"""Grouped convolutions with groups that oneDNN computes correctly.

oneDNN, in torch 2.13 and in OpenVINO 2026.4, computes a grouped convolution in bf16 on AMX wrongly
when a group has fewer than 16 channels: with 8 or 12 the output is off by several standard
deviations. Neighbouring groups are therefore merged. The weights between merged groups are
zero, so the convolution stays the same function.
"""

from __future__ import annotations

from torch import nn

MIN_GROUP_CHANNELS = 16
"""Minimum input and output channels of a group in reduced precision."""


def widen_narrow_groups(model: nn.Module) -> None:
    """Merge groups in each 1-d convolution under `model` whose groups are too narrow.

    Args:
        model: in any dtype, with folded weight norms; it is modified.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d) and module.groups > 1:
            _widen(module)


def _widen(conv: nn.Conv1d) -> None:
    narrowest = min(conv.in_channels, conv.out_channels) // conv.groups
    joined = next(
        count
        for count in range(1, conv.groups + 1)
        if conv.groups % count == 0
        and (count * narrowest >= MIN_GROUP_CHANNELS or count == conv.groups)
    )
    if joined == 1:
        return
    # [wide group, group in it, outputs, inputs, width]
    weight = conv.weight.detach()
    shape = conv.groups // joined, joined, -1, *weight.shape[1:]
    narrow = weight.reshape(shape)
    groups, _, outputs, inputs, width = narrow.shape
    wide = narrow.new_zeros(groups, joined, outputs, joined, inputs, width)
    for place in range(joined):
        wide[:, place, :, place] = narrow[:, place]
    conv.weight = nn.Parameter(wide.reshape(conv.out_channels, joined * inputs, width))
    conv.groups //= joined
