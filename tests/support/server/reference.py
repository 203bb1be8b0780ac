"""What the demo checkpoint says of a clip by Hugging Face's own model, unpadded and alone."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from asr_backend.checkpoint.description import demo_checkpoint


@cache
def _model() -> tuple[Any, Any, dict[int, str]]:
    import json

    folder = demo_checkpoint()
    vocabulary = json.loads((folder / "vocab.json").read_text())
    return (
        Wav2Vec2ForCTC.from_pretrained(folder, local_files_only=True).eval(),
        Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True),
        {index: symbol for symbol, index in vocabulary.items()},
    )


def log_probs(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Float32 [samples] at 16 kHz to float32 [frames, vocabulary]."""
    model, extractor, _ = _model()
    values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        logits = model(values).logits[0]
    return torch.log_softmax(logits, dim=-1).numpy()


def text(samples: npt.NDArray[np.float32]) -> str:
    """The greedy transcript: repeats are collapsed first, then blanks are dropped."""
    symbols = _model()[2]
    best = log_probs(samples).argmax(axis=-1)
    kept = (symbols[index] for index, _ in itertools.groupby(best.tolist()))
    return " ".join("".join(s for s in kept if not s.startswith("<")).replace("|", " ").split())
