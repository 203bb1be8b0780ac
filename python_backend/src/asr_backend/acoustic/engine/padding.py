"""Keeps padding out of the results of a batch on torch.

Hugging Face's models run as they are. Only the modules whose result would depend on the zeros after
a short clip are replaced when the checkpoint is loaded:

* the group norm after the first convolution takes its statistics over time, here over each clip's
  valid frames only (see first_norm.py);
* the positional convolutions get zeros after each clip's end, as for the clip alone; a stack of
  them (Data2VecAudio) or a batch norm before one (HuBERT) would otherwise bring other values in;
* the encoder masks the attention with one bias for all layers; Hugging Face's asks the device first
  whether any frame is padding at all, for which a GPU has to finish all that was launched;
* the attention of WavLM is computed by torch's fused kernel under one mask that holds both the
  position bias and the padding.

Everything else looks at one frame at a time. Nothing here launches kernels for each clip or waits
for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

from asr_backend.acoustic.engine.first_norm import FirstNorm
from asr_backend.checkpoint.description import Checkpoint


class Padding:
    """Replaces the modules of a model that depend on padding, and gives them each batch's lengths.

    Args:
        checkpoint: of the model.
        model: Hugging Face's base model; it is modified.
    """

    def __init__(self, checkpoint: Checkpoint, model: Any) -> None:
        self._checkpoint = checkpoint
        self._valid_frames: torch.Tensor | None = None
        self._first_norm: FirstNorm | None = None
        self.first_mean = self.first_scale = torch.empty(0)
        first = model.feature_extractor.conv_layers[0]
        if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            self._first_norm = FirstNorm(first.conv, first.layer_norm)
            first.layer_norm = _ValidFramesNorm(first.layer_norm, self)
        for module in model.encoder.pos_conv_embed.modules():
            if isinstance(module, nn.Conv1d):
                module.register_forward_pre_hook(self._zero)
        model._get_feature_vector_attention_mask = _same_mask
        fused = [
            module
            for module in model.encoder.modules()
            if hasattr(module, "torch_multi_head_self_attention")
        ]
        for module in fused:
            module.torch_multi_head_self_attention = partial(_fused_wavlm_attention, module)
        if not fused:
            model.encoder.forward = partial(_encode, model.encoder)

    def start(self, samples: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor | None:
        """Set the lengths of the next batch.

        Args:
            samples: [clips, longest], the network's input.
            lengths: valid samples of each clip.

        Returns:
            The valid frames, bool [clips, frames]: the model's `attention_mask`. None where all
            clips have the same length.
        """
        first_frames = None
        self._valid_frames = None
        if min(lengths) != max(lengths):
            kernel, stride = self._checkpoint.conv_kernel[0], self._checkpoint.conv_stride[0]
            frames = list(map(self._checkpoint.frame_count, lengths))
            counts = _on_device(
                [frames, [(length - kernel) // stride + 1 for length in lengths]], samples.device
            )
            order = torch.arange(max(frames), device=samples.device)
            self._valid_frames, first_frames = order < counts[0, :, None], counts[1]
        if self._first_norm is not None:
            mean, scale = self._first_norm.mean_and_scale(samples, first_frames)
            self.first_mean, self.first_scale = mean.float().flatten(), scale.float().flatten()
        return self._valid_frames

    def _zero(self, module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        """A forward pre-hook: sets [clips, channels, frames] to zero after each clip's end."""
        if self._valid_frames is None:
            return None
        return (inputs[0] * self._valid_frames[:, None],)


def _on_device(numbers: list[list[int]], device: torch.device) -> torch.Tensor:
    """An int64 tensor, copied without waiting for the device."""
    if device.type == "cuda":
        try:
            pinned = torch.tensor(numbers, pin_memory=True)
        except RuntimeError:
            # No pinned memory. If the device is lost instead, the next call fails too.
            return torch.tensor(numbers, device=device)
        return pinned.to(device, non_blocking=True)
    return torch.tensor(numbers, device=device)


def _same_mask(frames: int, mask: torch.Tensor, add_adapter: bool | None = None) -> torch.Tensor:
    """Replaces _get_feature_vector_attention_mask: the mask already has one value a frame."""
    return mask


class _ValidFramesNorm(nn.Module):
    """A group norm with the statistics of each clip's valid frames."""

    def __init__(self, norm: nn.GroupNorm, padding: Padding) -> None:
        super().__init__()
        self._norm = norm
        self._padding = padding

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise [clips, channels, frames] in one pass."""
        clips, channels, frames = features.shape
        mean = self._padding.first_mean
        normal = functional.batch_norm(
            features.reshape(1, clips * channels, frames),
            mean,
            # The variance is part of the scale: that of a very loud clip does not fit float32.
            torch.ones_like(mean),
            weight=self._padding.first_scale,
            bias=self._norm.bias.float().repeat(clips),
            eps=1e-12,  # Nothing beside 1; some libraries refuse 0.
        )
        return normal.view(features.shape)


def _encode(
    encoder: Any, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
) -> BaseModelOutput:
    """Replaces the forward of an encoder of any family but WavLM.

    Args:
        encoder: Hugging Face's.
        hidden: [clips, frames, width].
        attention_mask: the valid frames, bool [clips, frames]; None where all are.
        _: options for further outputs, which are never used here.
    """
    bias = None
    if attention_mask is not None:
        padded = ~attention_mask
        hidden = hidden.masked_fill(padded[..., None], 0)
        bias = hidden.new_zeros(padded.shape).masked_fill(padded, -torch.inf)[:, None, None]
    hidden = hidden + encoder.pos_conv_embed(hidden)
    stable = "StableLayerNorm" in type(encoder).__name__
    if not stable:
        hidden = encoder.layer_norm(hidden)
    for layer in encoder.layers:
        output = layer(hidden, attention_mask=bias)
        # A tuple before transformers 5.
        hidden = output if isinstance(output, torch.Tensor) else output[0]
    return BaseModelOutput(last_hidden_state=encoder.layer_norm(hidden) if stable else hidden)


def _fused_wavlm_attention(
    layer: Any,
    hidden: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_bias: torch.Tensor,
    output_attentions: bool = False,
) -> tuple[torch.Tensor, None]:
    """Replaces WavLMAttention.torch_multi_head_self_attention.

    It never returns attention weights, which are not used here.

    Args:
        layer: the WavLMAttention.
        hidden: [clips, frames, width].
        attention_mask: the valid frames, bool [clips, frames]; None without padding.
        position_bias: the gated bias, [clips * heads, frames, frames].
        output_attentions: transformers before 5.16 passes it, 5.16 and later do not. Ignored.
    """
    batch, frames, width = hidden.shape
    query, key, value = (
        project(hidden).view(batch, frames, layer.num_heads, -1).transpose(1, 2)
        for project in (layer.q_proj, layer.k_proj, layer.v_proj)
    )
    bias = position_bias.view(batch, layer.num_heads, frames, frames)
    if attention_mask is not None:
        bias = bias.masked_fill(~attention_mask[:, None, None], -torch.inf)
    output = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return layer.out_proj(output.transpose(1, 2).reshape(batch, frames, width)), None
