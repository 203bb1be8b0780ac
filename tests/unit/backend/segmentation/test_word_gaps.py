from __future__ import annotations

import pytest

from asr_backend.segmentation.word_gaps import place_between_words


@pytest.mark.parametrize(
    ("words", "place_s"),
    [
        ([(0.1, 0.5), (1.0, 1.9), (2.3, 2.6), (2.7, 3.9)], 2.1),
        # Only the second half counts.
        ([(0.1, 0.2), (1.0, 2.1), (2.2, 3.9)], 2.15),
        ([(0.1, 0.2), (1.0, 1.2)], 1.4),
        ([(0.1, 0.5), (1.0, 3.9)], 0.75),
        ([(0.1, 3.9)], 4.0),
    ],
)
def test_between_words(words: list[tuple[float, float]], place_s: float):
    assert place_between_words(words, 4.0) == pytest.approx(place_s)
