"""Writes small checkpoints with random weights, shaped like the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def write_settings(
    folder: Path, config: dict[str, Any], *, do_normalize: bool = True, rate: int = 16_000
) -> Path:
    """Write the files other than the weights."""
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


TINY: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32, 32, 32, 32, 32, 32, 32),
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": len(SYMBOLS),
    "pad_token_id": 0,
}

# Like published checkpoints in everything except size: the model type, and its settings.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "base-960h": ("wav2vec2", {"feat_extract_norm": "group", "do_stable_layer_norm": False}),
    "large-960h-lv60-self": (
        "wav2vec2",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    ),
    "hubert-base": ("hubert", {"feat_extract_norm": "group"}),
    "hubert-large": (
        "hubert",
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    ),
    "distilhubert": (
        "hubert",
        {"feat_extract_norm": "group", "feat_proj_layer_norm": False, "conv_pos_batch_norm": True},
    ),
    "wavlm-base": ("wavlm", {"feat_extract_norm": "group"}),
    "wavlm-large": ("wavlm", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
    "data2vec-audio-base": (
        "data2vec-audio",
        {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19},
    ),
    "unispeech": ("unispeech", {"feat_extract_norm": "group"}),
    "unispeech-sat": ("unispeech-sat", {"feat_extract_norm": "group"}),
}


def write_checkpoint(
    folder: Path, shape: str, *, do_normalize: bool = True, spread: float = 0.3, **sizes: Any
) -> Path:
    """A checkpoint with random weights whose every parameter matters to the output.

    Fresh weights would hide mistakes: biases are zero, norms are the identity, and a batch norm's
    running statistics are those of no data. So `spread` moves them; wide layers bear less of it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCTC

    model_type, settings = SHAPES[shape]
    config = AutoConfig.for_model(model_type, **{**TINY, **settings, **sizes})
    torch.manual_seed(0)
    model = AutoModelForCTC.from_config(config)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point() and (tensor.dim() == 1 or "conv_layers" in name):
                tensor += (
                    spread * tensor.std().nan_to_num(0.5).clamp(min=0.5) * torch.rand_like(tensor)
                )
    model.save_pretrained(folder)
    config_json = json.loads((folder / "config.json").read_text())
    return write_settings(folder, config_json, do_normalize=do_normalize)


LANGUAGES = {"eng": "ETAONIHSRD'", "deu": "EINSRATDHUÄÖÜ", "kat": "აბგდეზი"}


def write_language_checkpoint(folder: Path, **sizes: Any) -> Path:
    """A checkpoint shaped like MMS: a vocabulary and an adapter for each language, "eng" first."""
    import torch
    from safetensors.torch import load_file, save_file

    vocabularies = {
        language: {symbol: id_ for id_, symbol in enumerate((*SYMBOLS[:5], *letters))}
        for language, letters in LANGUAGES.items()
    }
    write_checkpoint(
        folder,
        "large-960h-lv60-self",
        adapter_attn_dim=8,
        vocab_size=len(vocabularies["eng"]),
        **sizes,
    )
    (folder / "vocab.json").write_text(json.dumps(vocabularies))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "target_lang": "eng"}))
    base = load_file(folder / "model.safetensors")
    for seed, (language, vocabulary) in enumerate(vocabularies.items()):
        torch.manual_seed(seed)
        adapter = {
            name: weights if language == "eng" else torch.randn_like(weights) * 0.3
            for name, weights in base.items()
            if "adapter_layer" in name
        }
        width = base["lm_head.weight"].shape[1]
        adapter["lm_head.weight"] = torch.randn(len(vocabulary), width)
        adapter["lm_head.bias"] = torch.randn(len(vocabulary))
        if language != "eng":
            save_file(adapter, folder / f"adapter.{language}.safetensors")
    return folder
