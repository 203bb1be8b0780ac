"""How much of the machine's own rate of matrix products in bf16 an engine reaches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from asr_backend.checkpoint.description import load_checkpoint

_CONV_DIM = (512,) * 7
# Transformers' defaults, for what config.json leaves out.
_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "vocab_size": 32,
}


def network_flop(folder: Path, samples: int) -> float:
    """Floating-point operations of one forward's convolutions and matrix products.

    Args:
        folder: of the checkpoint.
        samples: of the clip.
    """
    config = json.loads((folder / "config.json").read_text())
    hidden, inner, layers, width, groups, outputs = (
        config.get(name, default) for name, default in _DEFAULTS.items()
    )
    channels = config.get("conv_dim", _CONV_DIM)
    checkpoint = load_checkpoint(folder)
    frames, inputs, products = samples, 1, 0
    for size, kernel, stride in zip(
        channels, checkpoint.conv_kernel, checkpoint.conv_stride, strict=True
    ):
        frames = (frames - kernel) // stride + 1
        products += frames * size * inputs * kernel
        inputs = size
    products += frames * hidden * (inputs + width * hidden // groups + outputs)
    of_layer = frames * hidden * (4 * hidden + 2 * inner) + 2 * frames**2 * hidden
    return 2.0 * float(products + layers * of_layer)


def bf16_products(folder: Path, samples: int) -> tuple[Callable[[], object], float]:
    """The linear layers of one encoder layer as plain products in bf16, by torch.

    Returns:
        A call that computes them ten times, and its floating-point operations.
    """
    import torch

    config = json.loads((folder / "config.json").read_text())
    hidden = config.get("hidden_size", _DEFAULTS["hidden_size"])
    inner = config.get("intermediate_size", _DEFAULTS["intermediate_size"])
    frames = load_checkpoint(folder).frame_count(samples)
    pairs = [
        (torch.randn(frames, inputs).bfloat16(), torch.randn(inputs, outputs).bfloat16())
        for inputs, outputs in [*[(hidden, hidden)] * 4, (hidden, inner), (inner, hidden)]
    ]

    def run() -> None:
        for _ in range(10):
            for left, right in pairs:
                torch.mm(left, right)

    return run, 20.0 * frames * sum(right.numel() for _, right in pairs)
