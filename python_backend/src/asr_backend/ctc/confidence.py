"""Computes confidences from log-probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asr_backend.ctc.emissions import Emissions


def probability(log_prob: float) -> float:
    """The probability for a natural log-probability, which rounding may have raised above 0."""
    return math.exp(min(0.0, log_prob))


@dataclass(slots=True)
class Silence:
    """Computes the confidence of a text without characters."""

    frame_count: int = 0
    _log_prob_sum: float = 0.0

    def push(self, emissions: Emissions) -> None:
        """Count the next frames, float32 [any number, vocabulary]."""
        self.frame_count += len(emissions)
        self._log_prob_sum += float(emissions.max(axis=1).sum(dtype=np.float64))

    @property
    def confidence(self) -> float:
        """Geometric mean over all frames of the best symbol's probability; 0 without frames."""
        if not self.frame_count:
            return 0.0
        return probability(self._log_prob_sum / self.frame_count)
