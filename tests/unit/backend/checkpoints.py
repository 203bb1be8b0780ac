"""Small checkpoints with random weights, shaped like the published ones, written for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def write_settings(
    folder: Path, config: dict[str, Any], *, do_normalize: bool = True, rate: int = 16_000
) -> Path:
    """The files beside the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": config,
        "vocab.json": {symbol: index for index, symbol in enumerate(SYMBOLS)},
        "tokenizer_config.json": {"word_delimiter_token": "|", "pad_token": "<pad>"},
        "preprocessor_config.json": {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "do_normalize": do_normalize,
            "sampling_rate": rate,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder
