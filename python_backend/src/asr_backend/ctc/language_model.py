"""Language models with the interface of pyctcdecode. They need the packages of the extra `beam`."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import kenlm
from pyctcdecode.constants import LOG_BASE_CHANGE_FACTOR
from pyctcdecode.language_model import AbstractLanguageModel, LanguageModel

from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.ngram_files import NgramFiles

_TOO_HIGH = re.compile(r"has order (\d+) but KenLM was compiled to support up to (\d+)")


class NoLanguageModel(AbstractLanguageModel):  # type: ignore[misc]
    """A model in which all words are equally likely.

    With any language model, the search looks for hot words once in each text, not once in each
    frame.
    """

    @property
    def order(self) -> int:
        """Number of words that a score depends on, the scored one included."""
        return 1

    def get_start_state(self) -> None:
        """The state at the start of a text."""

    def score_partial_token(self, partial_token: str) -> float:
        """The score of a word's first letters."""
        return 0.0

    def score(self, prev_state: None, word: str, is_last_word: bool = False) -> tuple[float, None]:
        """The score of a word, and the state after it."""
        return 0.0, None

    def unfinished(self) -> NoLanguageModel:
        """See Ngrams."""
        return self


def _silently() -> kenlm.Config:
    """Keeps KenLM from writing a progress bar and advice about its binary format to stderr."""
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    return config


def _load(path: Path) -> kenlm.Model:
    try:
        # Bytes: a name need not be UTF-8.
        return kenlm.Model(os.fsencode(path), _silently())
    except OSError as error:
        message = str(error)
        if order := _TOO_HIGH.search(message):
            reason = f"it has order {order[1]}, and this KenLM reads orders up to {order[2]}"
        else:
            # KenLM names a line of its own source first.
            reason = f"KenLM cannot read it: {message.rpartition('threw ')[2].rstrip(')')}"
        raise CheckpointError(f"{path}: {reason}") from None


class Ngrams(LanguageModel):  # type: ignore[misc]
    """A KenLM model in memory.

    Args:
        files: its files. A binary model is mapped, so that processes share its memory.

    Raises:
        CheckpointError: KenLM cannot read it.
    """

    def __init__(self, files: NgramFiles) -> None:
        words = set(files.words())
        super().__init__(
            _load(files.model),
            words or None,
            alpha=files.alpha,
            beta=files.beta,
            unk_score_offset=files.unk_score_offset,
            score_boundary=files.score_boundary,
        )
        self._knows_words = bool(words)
        self._scores_end = True

    def unfinished(self) -> Ngrams:
        """The same model for a text that continues in another segment."""
        model = copy.copy(self)
        model._scores_end = False
        return model

    def score_partial_token(self, partial_token: str) -> float:
        """The score of a word's first letters; 0 if the model's words are not known."""
        return float(super().score_partial_token(partial_token)) if self._knows_words else 0.0

    def score(self, prev_state: Any, word: str, is_last_word: bool = False) -> tuple[float, Any]:
        """The score of a word (`""` for none), and the state after it."""
        # pyctcdecode asks for "" if a text ends with a space; KenLM does not know that word.
        score, state = super().score(prev_state, word) if word else (0.0, prev_state)
        if is_last_word and self._scores_end:
            score += self.alpha * LOG_BASE_CHANGE_FACTOR * self._get_raw_end_score(state)
        return score, state
