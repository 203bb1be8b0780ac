"""A checkpoint of base-960h's shape with seeded random weights.

The time of a forward does not depend on the values of the weights, and a transcript that is noise
still shows whether a neighbour changed it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
_SPECIAL = slice(1, 4)
"""Symbols that decoders treat differently; a trained network never writes them."""

BASE: dict[str, Any] = {}
"""Transformers' defaults are base-960h's shape."""
LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
"""The shape of large-960h-lv60-self."""
TINY: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embedding_groups": 4,
}
SIZES: dict[str, dict[str, Any]] = {"base": BASE, "large": LARGE, "tiny": TINY}


def make_checkpoint(folder: Path, size: str) -> Path:
    """Write the checkpoint where it is not there yet; returns its folder.

    Args:
        folder: where checkpoints are kept.
        size: one of SIZES.
    """
    target = folder / size
    if target.is_dir():
        return target
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC
    from transformers.utils import logging

    from tools.demo_checkpoint.model import export

    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(SYMBOLS), pad_token_id=0, **SIZES[size]))
    with torch.no_grad():
        model.lm_head.bias[_SPECIAL] = -20.0
    unfinished = folder / f"{size}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    export(model, unfinished, attention_mask=False)
    return unfinished.rename(target)
