"""Language models as pyctcdecode's search asks them. Needs pyctcdecode."""

from __future__ import annotations

from pyctcdecode.language_model import AbstractLanguageModel


class NoLanguageModel(AbstractLanguageModel):  # type: ignore[misc]
    """Every word is as likely as any other.

    With a language model, even this one, the search looks for hot words once in a text and not once
    in a frame.
    """

    @property
    def order(self) -> int:
        """Words of history that a score depends on, the scored one included."""
        return 1

    def get_start_state(self) -> None:
        """What a text starts with."""

    def score_partial_token(self, partial_token: str) -> float:
        """The score of a word's first letters."""
        return 0.0

    def score(self, prev_state: None, word: str, is_last_word: bool = False) -> tuple[float, None]:
        """The score of a word, and the state behind it."""
        return 0.0, None
