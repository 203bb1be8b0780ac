"""How sure a decoder is: confidences out of log-probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asr_backend.ctc.emissions import Emissions


def probability(log_prob: float) -> float:
    """The probability of a natural log-probability, which rounding may have put above 0."""
    return math.exp(min(0.0, log_prob))


@dataclass(slots=True)
class Silence:
    """What the confidence of a text without characters is made of."""

    frame_count: int = 0
    _log_prob_sum: float = 0.0

    def push(self, emissions: Emissions) -> None:
        """Count the next frames, float32 [any number, vocabulary]."""
        self.frame_count += len(emissions)
        self._log_prob_sum += float(emissions.max(axis=1).sum(dtype=np.float64))

    @property
    def confidence(self) -> float:
        """Geometric mean of the best symbol's probability over all frames; 0 if there are none."""
        if not self.frame_count:
            return 0.0
        return probability(self._log_prob_sum / self.frame_count)
