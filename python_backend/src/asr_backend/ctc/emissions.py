"""Emissions: the output of the acoustic model for each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Emissions = npt.NDArray[np.float32]
"""Natural log-probabilities of the symbols, float32 [frames, vocabulary]; a log-softmax."""


@dataclass(slots=True)
class Run:
    """Consecutive frames with the same symbol."""

    id: int
    start: int
    """The first frame."""
    end: int
    """The frame after the last one."""
    log_prob: float
    """The symbol's highest log-probability in these frames."""
