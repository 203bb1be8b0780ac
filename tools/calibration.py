"""How well confidences agree with the share of right words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Words whose confidence lies in one tenth of [0, 1]."""

    words: int
    mean_confidence: float
    right: float
    """The share of them that are right."""


def reliability(words: Sequence[tuple[float, bool]]) -> list[Bin | None]:
    """Words (confidence, right) in BINS bins of equal width; None for an empty one."""
    parts: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, right in words:
        parts[min(int(confidence * BINS), BINS - 1)].append((confidence, right))
    return [
        Bin(
            words=len(part),
            mean_confidence=sum(confidence for confidence, _ in part) / len(part),
            right=sum(right for _, right in part) / len(part),
        )
        if part
        else None
        for part in parts
    ]


def expected_calibration_error(bins: Sequence[Bin | None]) -> float:
    """Mean distance of confidence and share of right words over the bins, weighted by words.

    As in Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    filled = [part for part in bins if part is not None]
    total = sum(part.words for part in filled)
    return sum(part.words * abs(part.mean_confidence - part.right) for part in filled) / total
