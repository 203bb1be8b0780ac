"""OpenVINO's graph of a network, built from the modules of Hugging Face's model.

Each convolution after the first is a linear layer over the two or three frames under its kernel.
Linear layers in int8 have a scale for each output. OpenVINO scales their inputs in groups of values
within one frame (GROUP_SIZE): a loud frame or clip never makes another less precise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from asr_backend.acoustic.engine.clip_norm import ClipNorm
from asr_backend.acoustic.engine.grouped_conv import widen_narrow_groups
from asr_backend.acoustic.engine.openvino_runtime import openvino
from asr_backend.acoustic.engine.openvino_runtime import opset13 as ops

_END = 2**31 - 1

_SAME_MODULES = frozenset({"wav2vec2", "hubert", "unispeech", "unispeech-sat"})


def reproduces(config: Any) -> bool:
    """Whether this graph covers every module of a network with this configuration."""
    return (
        config.model_type in _SAME_MODULES
        and config.feat_extract_activation == config.hidden_act == "gelu"
        and not getattr(config, "conv_pos_batch_norm", False)
        and getattr(config, "feat_proj_layer_norm", True)
        and getattr(config, "adapter_attn_dim", None) is None
        and set(zip(config.conv_kernel[1:], config.conv_stride[1:], strict=True))
        <= {(3, 2), (2, 2)}
    )


def build_graph(model: Any, precision: str) -> tuple[Any, ClipNorm | None]:
    """The network as OpenVINO's model, and the norm that its caller computes.

    Args:
        model: Hugging Face's, in fp32 on the CPU; groups of its convolutions may be merged, which
            leaves it the same function.
        precision: `bf16` or `int8`.
    """
    widen_narrow_groups(model)
    first = model.base_model.feature_extractor.conv_layers[0]
    norm = getattr(first, "layer_norm", None)
    clip_norm = _clip_norm(first.conv, norm) if isinstance(norm, nn.GroupNorm) else None
    return _Graph(int8=precision == "int8").network(model), clip_norm


def _clip_norm(conv: Any, norm: Any) -> ClipNorm:
    kernel = _array(conv.weight)[:, 0].astype(np.float64)
    bias = np.zeros(len(kernel)) if conv.bias is None else _array(conv.bias).astype(np.float64)
    return ClipNorm(
        kernel=kernel,
        conv_bias=bias,
        weight=_array(norm.weight).astype(np.float64),
        bias=_array(norm.bias).astype(np.float64),
        stride=int(conv.stride[0]),
        epsilon=float(norm.eps),
    )


class _Graph:
    """Builds OpenVINO operations from the modules of Hugging Face's model."""

    def __init__(self, *, int8: bool) -> None:
        self._int8 = int8
        self._inputs = [ops.parameter([1, -1], np.float32), ops.parameter([1, -1, 1], np.float32)]
        self._valid_frames = self._inputs[1]
        nowhere = ops.multiply(ops.subtract(self._valid_frames, _constant(1)), _constant(1e4))
        self._bias = ops.reshape(nowhere, ops.constant([1, 1, 1, -1]), special_zero=False)

    def network(self, model: Any) -> openvino.Model:
        """The model that gives logits [1, frames, vocabulary].

        Its inputs: samples [1, samples]; [1, frames, 1], 1 for the clip's own frames and 0 behind
        them; and, with a group norm, its scale and shift, each [1, channels, 1].
        """
        first, *others = model.base_model.feature_extractor.conv_layers
        hidden = self._first_convolution(first, ops.unsqueeze(self._inputs[0], ops.constant(1)))
        for layer in others:
            hidden = self._convolution(layer, hidden)
        projection = model.base_model.feature_projection
        hidden = self._linear(projection.projection, _norm(projection.layer_norm, hidden))
        hidden = self._encoder(model.base_model.encoder, hidden)
        return openvino.Model([_linear(model.lm_head, hidden)], self._inputs)

    def _first_convolution(self, layer: Any, samples: Any) -> Any:
        """[1, 1, samples] to [1, frames, channels]."""
        hidden = _conv(layer.conv, samples)
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            scale, shift = (ops.parameter([1, norm.num_channels, 1], np.float32) for _ in "ab")
            self._inputs += [scale, shift]
            hidden = ops.add(ops.multiply(hidden, scale), shift)
            norm = None
        hidden = _swap(hidden)
        return ops.gelu(hidden if norm is None else _norm(norm, hidden), "erf")

    def _convolution(self, layer: Any, hidden: Any) -> Any:
        """A convolution of stride 2 over [1, frames, channels]: a linear layer over its windows."""
        conv, norm = layer.conv, getattr(layer, "layer_norm", None)
        pair = ops.constant([1, -1, 2 * conv.in_channels])
        if conv.kernel_size == (2,):
            seen = ops.reshape(hidden, pair, special_zero=False)
        else:
            # A bucket's samples give an odd number of frames here.
            pairs = ops.reshape(_slice(hidden, 0, -1, 1), pair, special_zero=False)
            seen = ops.concat([pairs, _slice(hidden, 2, _END, 2)], axis=-1)
        hidden = self._matmul(seen, _array(conv.weight.transpose(1, 2).flatten(1)), conv.bias)
        return ops.gelu(hidden if norm is None else _norm(norm, hidden), "erf")

    def _encoder(self, encoder: Any, hidden: Any) -> Any:
        hidden = ops.multiply(hidden, self._valid_frames)
        position = ops.gelu(_conv(encoder.pos_conv_embed.conv, _swap(hidden)), "erf")
        hidden = ops.add(hidden, _swap(position))
        stable = "Stable" in type(encoder).__name__
        if not stable:
            hidden = _norm(encoder.layer_norm, hidden)
        for layer in encoder.layers:
            inner = _norm(layer.layer_norm, hidden) if stable else hidden
            hidden = ops.add(hidden, self._attention(layer.attention, inner))
            if not stable:
                hidden = _norm(layer.layer_norm, hidden)
            inner = _norm(layer.final_layer_norm, hidden) if stable else hidden
            hidden = ops.add(hidden, self._feed_forward(layer.feed_forward, inner))
            if not stable:
                hidden = _norm(layer.final_layer_norm, hidden)
        return _norm(encoder.layer_norm, hidden) if stable else hidden

    def _attention(self, attention: Any, hidden: Any) -> Any:
        split = ops.constant(np.array([1, -1, attention.num_heads, attention.head_dim]))
        heads = [
            ops.transpose(
                ops.reshape(self._linear(project, hidden), split, special_zero=False),
                ops.constant([0, 2, 1, 3]),
            )
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        mixed = ops.transpose(
            ops.scaled_dot_product_attention(*heads, self._bias), ops.constant([0, 2, 1, 3])
        )
        joined = ops.reshape(mixed, ops.constant([1, -1, attention.embed_dim]), special_zero=False)
        return self._linear(attention.out_proj, joined)

    def _feed_forward(self, layer: Any, hidden: Any) -> Any:
        hidden = ops.gelu(self._linear(layer.intermediate_dense, hidden), "erf")
        return self._linear(layer.output_dense, hidden)

    def _linear(self, layer: nn.Linear, hidden: Any) -> Any:
        return self._matmul(hidden, _array(layer.weight), layer.bias)

    def _matmul(self, hidden: Any, weight: npt.NDArray[np.float32], bias: Any) -> Any:
        if self._int8:
            scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-12) / 127
            whole = ops.convert(ops.constant(np.rint(weight / scale).astype(np.int8)), np.float32)
            product = ops.matmul(hidden, ops.multiply(whole, ops.constant(scale)), False, True)
        else:
            product = ops.matmul(hidden, ops.constant(weight), False, True)
        return product if bias is None else ops.add(product, ops.constant(_array(bias)))


def _linear(layer: nn.Linear, hidden: Any) -> Any:
    product = ops.matmul(hidden, ops.constant(_array(layer.weight)), False, True)
    return ops.add(product, ops.constant(_array(layer.bias)))


def _conv(conv: Any, hidden: Any) -> Any:
    """A convolution over [1, channels, frames]; a padded one of even width drops its last frame."""
    weight, (padding,) = _array(conv.weight), conv.padding
    ends = [padding], [padding - (padding > 0 and conv.kernel_size[0] % 2 == 0)]
    if conv.groups > 1:
        weight = weight.reshape(conv.groups, -1, *weight.shape[1:])
        hidden = ops.group_convolution(hidden, ops.constant(weight), conv.stride, *ends, [1])
    else:
        hidden = ops.convolution(hidden, ops.constant(weight), conv.stride, *ends, [1])
    if conv.bias is None:
        return hidden
    return ops.add(hidden, ops.constant(_array(conv.bias).reshape(1, -1, 1)))


def _norm(norm: nn.LayerNorm, hidden: Any) -> Any:
    normal = ops.mvn(hidden, ops.constant([-1]), True, norm.eps, "INSIDE_SQRT")
    weight, bias = (ops.constant(_array(part)) for part in (norm.weight, norm.bias))
    return ops.add(ops.multiply(normal, weight), bias)


def _slice(hidden: Any, start: int, stop: int, step: int) -> Any:
    """Frames of [1, frames, channels]."""
    return ops.slice(hidden, *(ops.constant([each]) for each in (start, stop, step, 1)))


def _swap(hidden: Any) -> Any:
    """[1, a, b] to [1, b, a]."""
    return ops.transpose(hidden, ops.constant([0, 2, 1]))


def _constant(value: float) -> Any:
    return ops.constant(np.float32(value))


def _array(tensor: Any) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = tensor.detach().numpy()
    return array
