import pytest

from tools.word_errors import right_words, word_error_rate, word_errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("ten of clubs", "ten of clubs", 0),
        ("ten of clubs", "ten clubs", 1),
        ("ten of clubs", "", 3),
        ("five five", "five five five", 1),
        ("four queen of clubs", "for queen clubs", 2),
        ("", "ten", 1),
    ],
)
def test_word_errors(reference: str, hypothesis: str, errors: int) -> None:
    assert word_errors(reference, hypothesis) == errors


def test_rate_weighs_clips_by_their_words() -> None:
    assert word_error_rate([("one", "two"), ("one two three", "one two three")]) == 0.25


def test_rate_of_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        word_error_rate([])


@pytest.mark.parametrize(
    ("reference", "hypothesis", "right"),
    [
        ("a b c", "a b c", [True, True, True]),
        ("a b c", "a x c", [True, False, True]),
        ("a b c", "b c", [True, True]),
        ("a c", "a b c", [True, False, True]),
        ("a b", "", []),
        ("", "a", [False]),
        ("five five", "five", [True]),
    ],
)
def test_which_words_are_right(reference: str, hypothesis: str, right: list[bool]) -> None:
    assert right_words(reference, hypothesis) == right
