"""The network on torch: windows of unequal length in, each one's own log-probabilities out.

Padding must not reach a result. Hugging Face's models are run as they are; only the places where
the zeros behind a short clip would be seen are replaced when the checkpoint is loaded:

* the group norm after the first convolution takes its statistics over time, here over each clip's
  own frames only;
* the positional convolutions are given zeros behind each clip's end, as the clip alone would have
  there; a stack of them (Data2VecAudio), or a batch norm before one (HuBERT), otherwise carries
  other values in;
* the attention of WavLM is computed by torch's fused kernel under one mask that holds both the
  position bias and the padding.

All else is masked by the models themselves, or looks at one frame at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from asr_backend.acoustic.engine.adapters import Adapters
from asr_backend.acoustic.engine.compilation import compile_layers, nothing_more
from asr_backend.acoustic.engine.device_lost import DeviceLost, is_lost
from asr_backend.acoustic.engine.grouped_conv import widen_narrow_groups
from asr_backend.acoustic.engine.int8_linear import use_int8
from asr_backend.acoustic.engine.overflow import in_fp32
from asr_backend.acoustic.features import network_input
from asr_backend.checkpoint.description import Checkpoint

_NO_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """An engine on torch, for one thread at a time.

    Args:
        checkpoint: of the model.
        model: Hugging Face's, in fp32 on the CPU, its weight norms folded; it is changed.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: `fp32`, `bf16`, `fp16`, or `int8`: linear layers in int8 and all else in bf16.
        compiled: whether torch compiles the encoder's layers, now and for good.
    """

    max_windows: int | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: Any,
        *,
        device: str,
        precision: str,
        compiled: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.overflows = 0
        self.name = f"{precision} on torch, {'compiled, ' * compiled}{device}"
        self._device = torch.device(device)
        self._dtype = _DTYPES.get(precision, torch.bfloat16)
        self._padding = _Padding(checkpoint)
        _mask_the_padding(model.base_model, self._padding)
        if self._device.type == "cpu" and precision != "fp32":
            widen_narrow_groups(model)
        if precision == "int8":
            use_int8(model.base_model.encoder)
        self._model = model.to(self._device, self._dtype)
        self._adapters = Adapters(checkpoint, model) if checkpoint.languages else None
        # TF32 convolutions, torch's default on a GPU, keep three digits only: not what fp32 says.
        torch.backends.cudnn.allow_tf32 = False
        self._compilation: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
        if compiled:
            compile_layers(self._model, self.forward)
            self._compilation = nothing_more

    def computed_samples(self, lengths: Sequence[int]) -> int:
        """See Engine: all are padded to the longest."""
        return len(lengths) * max(lengths)

    def use_language(self, language: str) -> None:
        """See Engine."""
        assert self._adapters is not None, "the checkpoint has no languages"
        with self._named_errors():
            self._adapters.use(language)

    def forward(self, windows: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """See Engine."""
        with self._named_errors():
            outputs = self._run(windows, self._dtype)
            if self._dtype == torch.float16:
                self._repeat_overflows(windows, outputs)
            return outputs

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Within it, torch's errors of memory and device are those that Engine names."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from None
        except RuntimeError as error:
            # Neither the CPU's allocator nor cuBLAS has an exception class of its own for it.
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError(str(error)) from None
            if is_lost(error, self._synchronize):
                raise DeviceLost(str(error).partition("\n")[0]) from error
            raise

    def _repeat_overflows(
        self,
        windows: Sequence[npt.NDArray[np.float32]],
        outputs: list[npt.NDArray[np.float32]],
    ) -> None:
        """Put fp32's output in the place of each that is not finite."""
        for index, (window, output) in enumerate(zip(windows, outputs, strict=True)):
            if not np.isfinite(output).all():
                self.overflows += 1
                with in_fp32(self._model):
                    (outputs[index],) = self._run([window], torch.float32)

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @torch.inference_mode()
    def _run(
        self, windows: Sequence[npt.NDArray[np.float32]], dtype: torch.dtype
    ) -> list[npt.NDArray[np.float32]]:
        lengths = [window.size for window in windows]
        batch = self._upload(windows)
        mask = self._padding.start(batch, lengths)
        with self._compilation():
            logits = self._model(batch.to(dtype), attention_mask=mask).logits
        log_probs = functional.log_softmax(logits, dim=-1, dtype=torch.float32)
        return [
            row[: self.checkpoint.frame_count(length)]
            for row, length in zip(log_probs.cpu().numpy(), lengths, strict=True)
        ]

    def _upload(self, windows: Sequence[npt.NDArray[np.float32]]) -> torch.Tensor:
        """The windows as the network takes them: [windows, longest] on the device, zeros behind."""
        batch = self._zeros(len(windows), max(window.size for window in windows))
        for row, window in zip(batch.numpy(), windows, strict=True):
            row[: window.size] = network_input(window, self.checkpoint)
        # torch keeps a pinned block from being used again until the copy from it is done.
        return batch.to(self._device, non_blocking=True)

    def _zeros(self, *shape: int) -> torch.Tensor:
        """Zeros on the CPU, in pinned memory where the device copies from it."""
        if self._device.type == "cuda":
            # Pinned memory is scarce in some containers; without it the copy only takes longer.
            with contextlib.suppress(RuntimeError):
                return torch.zeros(shape, pin_memory=True)
        return torch.zeros(shape)


def fold_weight_norms(model: nn.Module) -> None:
    """Work out every weight norm once; else it is worked out anew in every forward."""
    for module in model.modules():
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            nn.utils.parametrize.remove_parametrizations(module, "weight")


class _Padding:
    """The lengths of the forward in work, for the modules that must not see its padding."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.first_frames: list[int] | None = None
        self._frame_mask: torch.Tensor | None = None

    def start(self, batch: torch.Tensor, lengths: list[int]) -> torch.Tensor | None:
        """Note the lengths; returns the samples' mask [batch, samples], None without padding."""
        if min(lengths) == max(lengths):
            self.first_frames = self._frame_mask = None
            return None
        kernel, stride = self._checkpoint.conv_kernel[0], self._checkpoint.conv_stride[0]
        self.first_frames = [(length - kernel) // stride + 1 for length in lengths]
        frames = list(map(self._checkpoint.frame_count, lengths))
        self._frame_mask = _prefix_mask(frames, batch.device)
        return _prefix_mask(lengths, batch.device).long()

    def zero(self, module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        """A forward pre-hook: zeros behind each clip's end in [batch, channels, frames]."""
        if self._frame_mask is None:
            return None
        return (inputs[0] * self._frame_mask[:, None],)


def _prefix_mask(lengths: list[int], device: torch.device) -> torch.Tensor:
    """Bool [batch, longest], true for the first `lengths[i]` of row i."""
    ends = torch.tensor(lengths, device=device)
    return torch.arange(max(lengths), device=device) < ends[:, None]


class _OwnFramesNorm(nn.Module):
    """A group norm whose statistics are those of each clip's own frames."""

    def __init__(self, norm: nn.GroupNorm, padding: _Padding) -> None:
        super().__init__()
        self._norm = norm
        self._padding = padding

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise [batch, channels, frames]; frames behind a clip's end are left as they are."""
        if self._padding.first_frames is None:
            normal: torch.Tensor = self._norm(features)
            return normal
        for row, count in zip(features, self._padding.first_frames, strict=True):
            row[:, :count] = self._norm(row[None, :, :count])[0]
        return features


def _mask_the_padding(model: Any, padding: _Padding) -> None:
    first = model.feature_extractor.conv_layers[0]
    if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
        first.layer_norm = _OwnFramesNorm(first.layer_norm, padding)
    for module in model.encoder.pos_conv_embed.modules():
        if isinstance(module, nn.Conv1d):
            module.register_forward_pre_hook(padding.zero)
    for module in model.encoder.modules():
        if hasattr(module, "torch_multi_head_self_attention"):
            module.torch_multi_head_self_attention = partial(_fused_wavlm_attention, module)


def _fused_wavlm_attention(
    layer: Any,
    hidden: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_bias: torch.Tensor,
    output_attentions: bool = False,
) -> tuple[torch.Tensor, None]:
    """Stands in for WavLMAttention.torch_multi_head_self_attention.

    The attention weights are never returned: nobody here asks for them.

    Args:
        layer: the WavLMAttention.
        hidden: [batch, frames, width].
        attention_mask: bool [batch, frames], true for a clip's own frames; None without padding.
        position_bias: the gated bias, [batch * heads, frames, frames].
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
