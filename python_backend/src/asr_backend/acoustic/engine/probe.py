"""Compares a precision with fp32 on one second of sound when the model loads.

Arithmetic can be wrong silently: a library may compute one operation wrongly on one kind of CPU,
and a checkpoint's activations may overflow fp16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_backend.acoustic.features import log_softmax, network_input
from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.files import CheckpointError

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine

TOLERANCES = {"bf16": 0.25, "int8": 0.25, "fp16": 0.05}
"""Largest difference from fp32's log-probabilities, in their standard deviations."""

_SECONDS = (1.0, 0.6)
_PITCH_HZ = 120.0
_HARMONICS = 30
# The first three formants of two vowels, in Hz; the sound glides from the one to the other.
_VOWELS = ((700.0, 1200.0, 2600.0), (300.0, 2300.0, 3000.0))
_FORMANT_WIDTH_HZ = 120.0
_SYLLABLES_A_SECOND = 4.0


class Probe:
    """Two windows of different lengths and their log-probabilities in fp32.

    Args:
        checkpoint: of the model.
        expected: the log-probabilities, float32 [frames, vocabulary] of each window.

    Attributes:
        expected: the same.
    """

    def __init__(self, checkpoint: Checkpoint, expected: Sequence[npt.NDArray[np.float32]]) -> None:
        self._windows = _windows(checkpoint)
        self.expected = list(expected)

    @classmethod
    def of_model(cls, checkpoint: Checkpoint, model: Any) -> Probe:
        """Compute the log-probabilities.

        Args:
            checkpoint: of the model.
            model: Hugging Face's unmodified model, in fp32 on the CPU.

        Raises:
            CheckpointError: the log-probabilities are not finite.
        """
        expected = [_log_probs(checkpoint, model, window) for window in _windows(checkpoint)]
        if not all(np.isfinite(each).all() for each in expected):
            raise CheckpointError(
                f"{checkpoint.path}: the network's output is not finite, even in fp32"
            )
        return cls(checkpoint, expected)

    def deviation(self, engine: Engine) -> float:
        """Measure how far an engine is from fp32.

        Returns:
            The largest difference of a log-probability from fp32's, in the standard deviations of
            fp32's in that window; infinite where the engine's overflow.
        """
        windows = self._windows[: engine.max_windows]
        overflows = engine.overflows
        outputs = engine.forward(windows)
        if engine.overflows > overflows:
            return math.inf
        return max(map(_deviation, outputs, self.expected))


def speech_like(length: int) -> npt.NDArray[np.float32]:
    """A fixed sound with pitch, formants, syllables and a little noise: float32 [length], 16 kHz.

    Full scale is 1; the loudest sample is at 0.3.
    """
    seconds = np.arange(length) / SAMPLE_RATE_HZ
    glide = np.linspace(0.0, 1.0, length)
    voice = np.zeros(length)
    for harmonic in range(1, _HARMONICS + 1):
        frequency = harmonic * _PITCH_HZ
        loudness = np.zeros(length)
        for first, last in zip(*_VOWELS, strict=True):
            formant = first + (last - first) * glide
            loudness += 1 / (1 + ((frequency - formant) / _FORMANT_WIDTH_HZ) ** 2)
        voice += loudness * np.sin(2 * np.pi * frequency * seconds) / harmonic
    voice *= 0.55 - 0.45 * np.cos(2 * np.pi * _SYLLABLES_A_SECOND * seconds)
    # The legacy generator: numpy guarantees that its numbers never change.
    noise = np.random.RandomState(0).standard_normal(length)
    sound = voice / np.abs(voice).max() + 0.01 * noise
    normal: npt.NDArray[np.float32] = (0.3 * sound / np.abs(sound).max()).astype(np.float32)
    return normal


def _windows(checkpoint: Checkpoint) -> list[npt.NDArray[np.float32]]:
    lengths = [
        max(round(seconds * SAMPLE_RATE_HZ), checkpoint.receptive_field_samples)
        for seconds in _SECONDS
    ]
    sound = speech_like(max(lengths))
    return [sound[:length] for length in lengths]


def _log_probs(
    checkpoint: Checkpoint, model: Any, window: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Float32 [frames, vocabulary], from the unpadded window."""
    # A process that loads a prepared network never comes here.
    import torch

    values = torch.from_numpy(network_input(window, checkpoint))
    with torch.inference_mode():
        return log_softmax(model(values[None]).logits[0].numpy())


def _deviation(output: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    if not np.isfinite(output).all():
        return math.inf
    difference = float(np.abs(output - expected).max())
    # If all of fp32's values are equal, their standard deviation is 0.
    return difference / max(float(expected.std()), 1e-6)
