"""What an engine does to samples and scores outside the network, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asr_backend.checkpoint.description import Checkpoint

Emissions = npt.NDArray[np.float32]
"""Log-probabilities of a window, float32 [frames, vocabulary]."""


def network_input(
    window: npt.NDArray[np.float32],
    checkpoint: Checkpoint,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """The window as the checkpoint's feature extractor hands it to the network.

    Args:
        window: float32 [samples], finite.
        checkpoint: says whether samples are normalised.
        out: where to write it, float32 [samples]; None for a new array.
    """
    if out is None:
        out = np.empty_like(window)
    if checkpoint.do_normalize:
        normalize(window, out)
    else:
        out[:] = window
    return out


def normalize(window: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    """Zero mean and unit variance, with the 1e-7 that Wav2Vec2FeatureExtractor adds.

    Single precision, five times as fast as double: the mean is subtracted first, and what rounding
    left of it is subtracted again.

    Args:
        window: float32 [samples], finite.
        out: where to write the result, float32 [samples].
    """
    with np.errstate(over="ignore", invalid="ignore"):
        np.subtract(window, window.mean(), out=out)
        rest = out.mean()
        variance = float(np.dot(out, out)) / out.size - float(rest) ** 2
        if np.isfinite(variance):
            out -= rest
            out *= np.float32(1 / np.sqrt(max(variance, 0.0) + 1e-7))
            return
    # The square of a sample overflows single precision.
    wide = window.astype(np.float64)
    out[:] = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)


def log_softmax(logits: npt.NDArray[np.float32]) -> Emissions:
    """Log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs: Emissions = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return log_probs
