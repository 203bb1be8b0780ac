"""Word errors by the Levenshtein distance, and which words of a hypothesis are right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def word_errors(reference: str, hypothesis: str) -> int:
    """The minimum number of words to insert, delete or replace."""
    for row in _distances(reference.split(), hypothesis.split()):
        errors = row[-1]
    return errors


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Errors over reference words, over all pairs of reference and hypothesis."""
    errors = words = 0
    for reference, hypothesis in pairs:
        errors += word_errors(reference, hypothesis)
        words += len(reference.split())
    if words == 0:
        raise ValueError("word_error_rate() needs at least one reference word")
    return errors / words


def right_words(reference: str, hypothesis: str) -> list[bool]:
    """For each word of a hypothesis, whether the best alignment finds it in the reference."""
    wanted, got = reference.split(), hypothesis.split()
    costs = list(_distances(wanted, got))
    right = [False] * len(got)
    row, column = len(wanted), len(got)
    while row and column:
        same = wanted[row - 1] == got[column - 1]
        if costs[row][column] == costs[row - 1][column - 1] + (not same):
            row, column = row - 1, column - 1
            right[column] = same
        elif costs[row][column] == costs[row][column - 1] + 1:
            column -= 1
        else:
            row -= 1
    return right


def _distances(wanted: Sequence[str], got: Sequence[str]) -> Iterator[list[int]]:
    """The rows of the matrix of distances: of the first words wanted to the first words got."""
    previous = list(range(len(got) + 1))
    yield previous
    for index, word in enumerate(wanted, 1):
        current = [index]
        for column, other in enumerate(got, 1):
            replaced = previous[column - 1] + (word != other)
            current.append(min(replaced, previous[column] + 1, current[-1] + 1))
        previous = current
        yield current
