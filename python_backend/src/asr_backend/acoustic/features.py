"""What an engine does to samples and scores outside the network, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_backend.checkpoint.description import Checkpoint


def network_input(
    window: npt.NDArray[np.float32], checkpoint: Checkpoint
) -> npt.NDArray[np.float32]:
    """The window as the checkpoint's feature extractor hands it to the network."""
    return normalize(window) if checkpoint.do_normalize else window


def normalize(window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Zero mean and unit variance, with the 1e-7 that Wav2Vec2FeatureExtractor adds.

    In double precision, so that no finite window overflows.
    """
    wide = window.astype(np.float64)
    normal: npt.NDArray[np.float64] = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
    return normal.astype(np.float32)


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs: npt.NDArray[np.float32] = shifted - np.log(
        np.exp(shifted).sum(axis=-1, keepdims=True)
    )
    return log_probs
