"""The demo checkpoint's architecture and its folder in Hugging Face format.

A small `Wav2Vec2ForCTC` of the layer-norm family (as large-960h-lv60-self): stable layer norm,
convolutions with bias, an attention mask. The vocabulary is that of base-960h.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
"""The 32 symbols in the order of their ids; `<pad>` is CTC's blank, `|` the word boundary."""

BLANK = 0
SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}


def build_config() -> Wav2Vec2Config:
    """The architecture: 1.3 M parameters, 20 ms frames, a receptive field of 25 ms in front."""
    return Wav2Vec2Config(
        vocab_size=len(SYMBOLS),
        hidden_size=160,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        conv_dim=(24, 32, 48, 64, 96, 128, 128),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=24,
        num_conv_pos_embedding_groups=8,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
        mask_time_prob=0.0,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def encode(text: str) -> list[int]:
    """Symbol ids of a text of lower-case words."""
    return [SYMBOLS.index(symbol) for symbol in text.upper().replace(" ", "|")]


def decode(ids: list[int]) -> str:
    """Greedy CTC: collapse repeats first, then drop blanks; lower-case words."""
    kept = [s for s, previous in zip(ids, [BLANK, *ids], strict=False) if s != previous]
    text = "".join(SYMBOLS[s] for s in kept if s > 3)
    return " ".join(text.replace("|", " ").lower().split())


def export(model: Wav2Vec2ForCTC, folder: Path, *, attention_mask: bool = True) -> None:
    """Write config, fp32 weights, tokenizer and feature extractor; the card is not touched.

    Args:
        model: with SYMBOLS as its vocabulary.
        folder: is made where it is missing.
        attention_mask: whether the feature extractor masks padding; base-960h's does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["Wav2Vec2ForCTC"]
    with torch.no_grad():
        model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    _write_json(folder / "vocab.json", {symbol: index for index, symbol in enumerate(SYMBOLS)})
    _write_json(folder / "special_tokens_map.json", SPECIAL_TOKENS)
    tokenizer = {
        **SPECIAL_TOKENS,
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "word_delimiter_token": "|",
        "replace_word_delimiter_char": " ",
        "do_lower_case": False,
    }
    _write_json(folder / "tokenizer_config.json", tokenizer)
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16000,
        "padding_side": "right",
        "padding_value": 0.0,
        "do_normalize": True,
        "return_attention_mask": attention_mask,
    }
    _write_json(folder / "preprocessor_config.json", extractor)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
