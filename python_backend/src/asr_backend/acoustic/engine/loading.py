"""Chooses and loads an engine by device, precision and checkpoint."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCTC
from transformers.utils import logging as transformers_logging

from asr_backend.acoustic.engine.adapters import has_default_adapter, use_default_adapter
from asr_backend.acoustic.engine.probe import TOLERANCES, Probe
from asr_backend.acoustic.engine.protocol import Engine
from asr_backend.acoustic.engine.torch_engine import TorchEngine, fold_weight_norms
from asr_backend.acoustic.engine.weights import check_finite
from asr_backend.acoustic.precision import PRECISIONS, cpu_precision, gpu_precision
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.files import CheckpointError

# Only training uses the embedding of masked spans, so many checkpoints lack it.
_FOR_TRAINING = "masked_spec_embed"
MORE_EXACT = {"int8": "bf16", "bf16": "fp32", "fp16": "fp32"}
_logger = logging.getLogger(__name__)


def choose_device(setting: str, *, kind: str, device_id: int) -> str:
    """The torch device of a Triton instance.

    Args:
        setting: `auto`, `cpu` or `cuda`. `auto` takes the GPU that Triton assigned to the instance,
            or the CPU if there is none or this torch cannot use it.
        kind: Triton's `model_instance_kind`, `CPU` or `GPU`.
        device_id: Triton's `model_instance_device_id`.
    """
    gpu_there = kind == "GPU" and torch.cuda.is_available()
    return f"cuda:{device_id}" if setting == "cuda" or (setting == "auto" and gpu_there) else "cpu"


def choose_precision(setting: str, *, device: str) -> str:
    """Resolve a setting that may be `auto` to one of PRECISIONS.

    On a GPU, `auto` is bf16 from compute capability 8.0 on, fp16 from 7.0 on, else fp32. On a CPU
    it is int8 if the CPU multiplies bf16 in hardware (AVX512-BF16 or AMX), else fp32.

    Raises:
        ValueError: the precision is unknown, or the device does not support it.
    """
    if setting not in (*PRECISIONS, "auto"):
        raise ValueError(f"precision {setting!r} is none of auto, {', '.join(PRECISIONS)}")
    if device == "cpu":
        return setting if setting != "auto" else cpu_precision()
    if setting == "int8":
        raise ValueError("precision int8 is for the CPU")
    if setting != "auto":
        return setting
    return gpu_precision(torch.cuda.get_device_capability(device))


CUDA_CONTEXT_BYTES = 768 << 20
"""A process's memory on a GPU besides torch's: CUDA's context, the kernels' code, the libraries'
handles and workspaces. An estimate; `make gpu` measures it."""


def limit_gpu_memory(device: str, fraction: float, *, instances: int = 1) -> None:
    """Bound what torch takes of a GPU's memory in this process.

    Beyond it a forward raises MemoryError, as it does where the memory itself ends.

    Args:
        device: `cuda` or `cuda:N`.
        fraction: of all its memory, in (0, 1], for all instances together.
        instances: processes on this GPU. Each has a context, which comes out of its share.

    Raises:
        ValueError: the contexts leave nothing for the network.
    """
    total_bytes = torch.cuda.get_device_properties(device).total_memory
    share_bytes = total_bytes * fraction / instances - CUDA_CONTEXT_BYTES
    if share_bytes <= 0:
        raise ValueError(
            f"--gpu-memory-fraction {fraction:g} and {instances} instances of "
            f"{total_bytes / 2**30:.1f} GiB on {device} leave less to each than CUDA's own "
            f"{CUDA_CONTEXT_BYTES / 2**30:.2f} GiB"
        )
    torch.cuda.set_per_process_memory_fraction(share_bytes / total_bytes, device)


def load_engine(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str,
    threads: int,
    compiled: bool = False,
    log: Callable[[str], None] = _logger.warning,
) -> Engine:
    """Load a checkpoint's weights, from local safetensors only.

    On a CPU, bf16 and int8 run on OpenVINO if it is installed and supports the network. Everything
    else runs on torch. Every precision but fp32 is compared with fp32 on a second of sound (see
    probe.py). One that is too far off is refused; `auto` takes the next more exact one instead.

    Args:
        checkpoint: from `load_checkpoint`.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: one of PRECISIONS, or `auto`.
        threads: for one operation on the CPU.
        compiled: whether torch compiles the encoder's layers; on a GPU only.
        log: receives one line when `auto` gives up a precision.

    Raises:
        CheckpointError: the weights are not those of the network that config.json describes, are
            NaN or infinite, or too inexact in the precision.
        ValueError: the precision is unknown or not supported by the device, or `compiled` on a CPU.
    """
    if compiled and device == "cpu":
        raise ValueError("layers are compiled for a GPU only")
    chosen = choose_precision(precision, device=device)
    torch.set_num_threads(threads)
    probe: Probe | None = None
    while True:
        model = load_model(checkpoint)
        probe = probe or Probe.of_model(checkpoint, model)
        engine = _engine(
            checkpoint, model, device=device, precision=chosen, threads=threads, compiled=compiled
        )
        if chosen == "fp32":
            return engine
        deviation = probe.deviation(engine)
        if deviation <= TOLERANCES[chosen]:
            return engine
        complaint = complaint_of(checkpoint, engine, deviation, TOLERANCES[chosen])
        exacter = MORE_EXACT[chosen]
        if precision != "auto":
            raise CheckpointError(f"{complaint}; start with --precision {exacter}")
        log(f"{complaint}; auto takes {exacter}")
        # Free these weights before the next ones are loaded.
        del engine, model
        chosen = exacter


def complaint_of(checkpoint: Checkpoint, engine: Engine, deviation: float, limit: float) -> str:
    """Why a precision is refused, in one line."""
    if not math.isfinite(deviation):
        return f"{checkpoint.path}: {engine.name} overflows on a second of test sound"
    return (
        f"{checkpoint.path}: {engine.name} is {deviation:.2f} standard deviations off fp32 on a "
        f"second of test sound, the limit is {limit:g}"
    )


def _engine(
    checkpoint: Checkpoint, model: Any, *, device: str, precision: str, threads: int, compiled: bool
) -> Engine:
    if device == "cpu" and precision in ("bf16", "int8") and has_openvino():
        from asr_backend.acoustic.engine.openvino_engine import OpenVinoEngine
        from asr_backend.acoustic.engine.openvino_graph import build_graph, reproduces

        if reproduces(model.config):
            graph, clip_norm = build_graph(model, precision)
            return OpenVinoEngine(
                checkpoint, graph, clip_norm, precision=precision, threads=threads
            )
    return TorchEngine(checkpoint, model, device=device, precision=precision, compiled=compiled)


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def load_model(checkpoint: Checkpoint) -> Any:
    """Hugging Face's model on the CPU, in fp32, its weight norms folded.

    Raises:
        CheckpointError: weights are missing, NaN or infinite, or the adapter of the default
            language does not fit.
    """
    transformers_logging.disable_progress_bar()
    # Not from config.json, which could name code on the Hub. WavLM has only an eager
    # implementation, which the engine replaces.
    attention = "eager" if checkpoint.model_type == "wavlm" else "sdpa"
    config = AutoConfig.from_pretrained(
        checkpoint.path, local_files_only=True, trust_remote_code=False
    )
    config._attn_implementation = attention
    model, report = AutoModelForCTC.from_pretrained(
        checkpoint.path,
        config=config,
        attn_implementation=attention,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        # They are reported below: transformers' own message names none of them.
        ignore_mismatched_sizes=True,
    )
    # The last layer is the adapter's, where the default language has one.
    mismatched = [
        mismatch
        for mismatch in report["mismatched_keys"]
        if not (has_default_adapter(checkpoint) and mismatch[0].startswith("lm_head."))
    ]
    if mismatched:
        name, found, wanted = min(mismatched)
        raise CheckpointError(
            f"{checkpoint.path}: {name} is {list(found)}, and config.json makes it {list(wanted)}"
        )
    missing = [key for key in report["missing_keys"] if not key.endswith(_FOR_TRAINING)]
    if missing:
        raise CheckpointError(
            f"{checkpoint.path}: the weights lack {len(missing)} tensors of the network, "
            f"{min(missing)} for one"
        )
    use_default_adapter(checkpoint, model)
    weights = model.state_dict()
    check_finite(
        checkpoint.path,
        {name: weights[name] for name in weights if not name.endswith(_FOR_TRAINING)},
    )
    fold_weight_norms(model)
    return model.float().eval()
