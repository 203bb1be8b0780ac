"""Emissions: the output of the acoustic model for each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Emissions = npt.NDArray[np.float32]
"""Natural log-probabilities of the symbols, float32 [frames, vocabulary]; a log-softmax."""


class Merge:
    """Makes one column of the columns of symbols with the same text.

    A tokenizer may have a token twice. transformers collapses repeats by text, not by id.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        first: dict[str, int] = {}
        self._pairs = [
            (first[symbol], id_)
            for id_, symbol in enumerate(vocabulary)
            if symbol and first.setdefault(symbol, id_) != id_
        ]

    def __call__(self, emissions: Emissions) -> Emissions:
        """The emissions, with each such symbol in its first column."""
        if not self._pairs:
            return emissions
        merged = emissions.copy()
        for kept, other in self._pairs:
            merged[:, kept] = np.maximum(merged[:, kept], merged[:, other])
            merged[:, other] = -np.inf
        return merged


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
