"""Finds a place to cut speech that has no pause."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

CONTEXT_S = 0.2
"""What a segment keeps behind its last word: a word's sound often ends later than its symbols."""


def place_between_words(words: Sequence[tuple[float, float]], duration_s: float) -> float:
    """Where to cut speech without a pause: in the widest gap between words of the second half.

    Args:
        words: start and end of each word, in seconds, in order; at least one.
        duration_s: length of the audio.

    Returns:
        Seconds from the start of the audio; its length if there is no gap at all.
    """
    gaps = [
        (start_s - end_s, (start_s + end_s) / 2) for (_, end_s), (start_s, _) in pairwise(words)
    ]
    late = [(width_s, place_s) for width_s, place_s in gaps if place_s > duration_s / 2]
    if late:
        return max(late)[1]
    if words[-1][1] + CONTEXT_S <= duration_s:
        return words[-1][1] + CONTEXT_S
    return gaps[-1][1] if gaps else duration_s
