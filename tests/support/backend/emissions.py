"""Emissions made by hand, and a checkpoint without weights for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_backend.checkpoint.description import Checkpoint

BASE_VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def checkpoint(
    vocabulary: tuple[str, ...] = BASE_VOCABULARY,
    *,
    blank: str = "<pad>",
    delimiter: str | None = "|",
    special: tuple[str, ...] = ("<pad>", "<s>", "</s>", "<unk>"),
) -> Checkpoint:
    """A checkpoint of base-960h's frame rate and any vocabulary."""
    return Checkpoint(
        path=Path(),
        id="test",
        revision="0",
        model_type="wav2vec2",
        vocabulary=vocabulary,
        blank_id=vocabulary.index(blank),
        word_delimiter_id=None if delimiter is None else vocabulary.index(delimiter),
        special_ids=frozenset(vocabulary.index(symbol) for symbol in special),
        do_normalize=True,
        sample_rate_hz=16_000,
        conv_kernel=(10, 3, 3, 3, 3, 2, 2),
        conv_stride=(5, 2, 2, 2, 2, 2, 2),
    )


def emissions(
    symbols: list[str],
    vocabulary: tuple[str, ...] = BASE_VOCABULARY,
    *,
    probabilities: list[float] | None = None,
) -> npt.NDArray[np.float32]:
    """Log-probabilities, float32 [frames, vocabulary], with one best symbol a frame."""
    best = np.array(probabilities or [0.9] * len(symbols))
    rest = (1 - best) / (len(vocabulary) - 1)
    frames = np.repeat(rest[:, None], len(vocabulary), 1)
    frames[np.arange(len(symbols)), [vocabulary.index(symbol) for symbol in symbols]] = best
    return np.log(frames).astype(np.float32)


def spell(text: str) -> list[str]:
    """One frame for each letter; `_` is the blank and a space is the delimiter."""
    return [{"_": "<pad>", " ": "|"}.get(letter, letter) for letter in text]
