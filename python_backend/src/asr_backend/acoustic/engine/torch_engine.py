"""The network on torch: a padded batch of windows in, log-probabilities of each window out.

Padding must not change a result: see padding.py. The last layer and the log-softmax run in fp32 in
every precision, so that log-probabilities are not rounded to bf16 or fp16.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
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
from asr_backend.acoustic.engine.padding import Padding
from asr_backend.acoustic.features import Emissions, network_input
from asr_backend.checkpoint.description import Checkpoint

# The CPU's allocator and NVIDIA's libraries have no exception class of their own for it.
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
# A library that finds no memory for its handle or its workspace. It may also mean a lost device.
_MAY_BE_NO_MEMORY = (
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine to execute this computation",
)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """An engine on torch, for one thread at a time.

    Args:
        checkpoint: of the model.
        model: Hugging Face's, in fp32 on the CPU, with folded weight norms; it is modified.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: `fp32`, `bf16`, `fp16`, or `int8` (linear layers in int8, the rest in bf16).
        compiled: whether torch compiles the encoder's layers, once, while this is built.
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
        self._pins_memory = self._device.type == "cuda"
        self._padding = Padding(checkpoint, model.base_model)
        if self._device.type == "cpu" and precision != "fp32":
            widen_narrow_groups(model)
        if precision == "int8":
            use_int8(model.base_model.encoder)
        self._model = model.to(self._device, self._dtype)
        model.lm_head.float().register_forward_pre_hook(_to_fp32)
        self._adapters = Adapters(checkpoint, model) if checkpoint.languages else None
        # torch's default on a GPU is TF32, which keeps only three digits.
        torch.backends.cudnn.allow_tf32 = False
        self._compilation: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
        if compiled:
            compile_layers(self._model, self.forward)
            self._compilation = nothing_more

    def computed_samples(self, lengths: Sequence[int]) -> int:
        """See Engine: every window is padded to the longest."""
        return len(lengths) * max(lengths)

    def use_language(self, language: str) -> None:
        """See Engine."""
        assert self._adapters is not None, "the checkpoint has no languages"
        with self._named_errors():
            self._adapters.use(language)

    def forward(self, windows: Sequence[npt.NDArray[np.float32]]) -> list[Emissions]:
        """See Engine."""
        with self._named_errors():
            outputs = self._run(windows, self._dtype)
            if self._dtype == torch.float16:
                self._repeat_overflows(windows, outputs)
            return outputs

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Translate torch's errors of memory and device into those that Engine documents."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from None
        except RuntimeError as error:
            if _says(error, _NO_MEMORY):
                self._make_room()
                raise MemoryError(str(error)) from None
            if is_lost(error, self._synchronize):
                raise DeviceLost(str(error).partition("\n")[0]) from error
            if _says(error, _MAY_BE_NO_MEMORY):
                self._make_room()
                raise MemoryError(str(error)) from None
            raise

    def _repeat_overflows(
        self,
        windows: Sequence[npt.NDArray[np.float32]],
        outputs: list[Emissions],
    ) -> None:
        """Replace each output that is not finite by that of fp32."""
        for index, (window, output) in enumerate(zip(windows, outputs, strict=True)):
            if not np.isfinite(output).all():
                self.overflows += 1
                with in_fp32(self._model):
                    (outputs[index],) = self._run([window], torch.float32)

    def _make_room(self) -> None:
        """Release torch's cached memory: the GPU's libraries allocate without it."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @torch.inference_mode()
    def _run(
        self, windows: Sequence[npt.NDArray[np.float32]], dtype: torch.dtype
    ) -> list[Emissions]:
        lengths = [window.size for window in windows]
        batch = self._upload(windows).to(dtype)
        mask = self._padding.start(batch, lengths)
        with self._compilation():
            logits = self._model(batch, attention_mask=mask).logits
        log_probs = functional.log_softmax(logits, dim=-1, dtype=torch.float32)
        return [
            row[: self.checkpoint.frame_count(length)]
            for row, length in zip(log_probs.cpu().numpy(), lengths, strict=True)
        ]

    def _upload(self, windows: Sequence[npt.NDArray[np.float32]]) -> torch.Tensor:
        """Copy the network's input to the device: [windows, longest], padded with zeros."""
        batch = self._zeros(len(windows), max(window.size for window in windows))
        for row, window in zip(batch.numpy(), windows, strict=True):
            network_input(window, self.checkpoint, out=row[: window.size])
        # torch does not reuse a pinned block until the copy from it is done.
        return batch.to(self._device, non_blocking=True)

    def _zeros(self, *shape: int) -> torch.Tensor:
        """Zeros on the CPU, in pinned memory if the device is a GPU."""
        if self._pins_memory:
            try:
                return torch.zeros(shape, pin_memory=True)
            except RuntimeError as error:
                if is_lost(error, self._synchronize):
                    raise
                # Some containers limit pinned memory. Pageable memory only makes the copy slower;
                # asking again would cost time in every forward.
                self._pins_memory = False
        return torch.zeros(shape)


def _says(error: Exception, messages: Sequence[str]) -> bool:
    return any(message in str(error) for message in messages)


def _to_fp32(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """A forward pre-hook."""
    return (inputs[0].float(),)


def fold_weight_norms(model: nn.Module) -> None:
    """Compute every weight norm once instead of in every forward."""
    for module in model.modules():
        if nn.utils.parametrize.is_parametrized(module, "weight"):
            nn.utils.parametrize.remove_parametrizations(module, "weight")
