"""Word error rate."""

from __future__ import annotations

from collections.abc import Iterable


def word_errors(reference: str, hypothesis: str) -> int:
    """The least number of words to insert, delete or replace (Levenshtein distance)."""
    wanted, got = reference.split(), hypothesis.split()
    previous = list(range(len(got) + 1))
    for row, word in enumerate(wanted, 1):
        current = [row]
        for column, other in enumerate(got, 1):
            replaced = previous[column - 1] + (word != other)
            current.append(min(replaced, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1]


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Errors over reference words, over all pairs of reference and hypothesis."""
    errors = words = 0
    for reference, hypothesis in pairs:
        errors += word_errors(reference, hypothesis)
        words += len(reference.split())
    if words == 0:
        raise ValueError("word_error_rate() needs at least one reference word")
    return errors / words
