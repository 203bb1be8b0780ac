from random import Random

import pytest

from tools.demo_checkpoint.grammar import GROUPS, VOCABULARY, cardinal, sample, sample_distinct


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (10, "ten"),
        (19, "nineteen"),
        (20, "twenty"),
        (47, "forty seven"),
        (100, "one hundred"),
        (305, "three hundred five"),
        (9999, "nine thousand nine hundred ninety nine"),
    ],
)
def test_cardinal(number: int, words: str) -> None:
    assert cardinal(number) == words


@pytest.mark.parametrize("number", [-1, 10000])
def test_cardinal_out_of_range(number: int) -> None:
    with pytest.raises(ValueError, match="0 to 9999"):
        cardinal(number)


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_groups_stay_within_the_vocabulary(group: str) -> None:
    rng = Random(0)
    for _ in range(2000):
        words = sample(group, rng).split()
        assert words
        assert VOCABULARY.issuperset(words)


def test_groups_cover_the_words_of_the_recordings() -> None:
    rng = Random(0)
    said = {word for group in GROUPS for _ in range(3000) for word in sample(group, rng).split()}
    assert said == VOCABULARY


def test_sample_distinct_is_reproducible_and_distinct() -> None:
    weights = {"cards": 0.5, "commands": 0.5}
    drawn = sample_distinct(200, weights, Random(3))
    assert drawn == sample_distinct(200, weights, Random(3))
    assert len({text for _, text in drawn}) > 180
    assert {group for group, _ in drawn} == set(weights)
