"""KenLM language models. They need the package of the extra `beam`."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import kenlm

from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.ngram_files import NgramFiles

_LN_10 = math.log(10)
_TOO_HIGH = re.compile(r"has order (\d+) but KenLM was compiled to support up to (\d+)")


class Ngrams:
    """A KenLM model in memory; see WordModel.

    The score of a word is alpha times its natural log-probability plus beta, as in pyctcdecode.

    Args:
        files: its files. A binary model is mapped, so that processes share its memory.

    Raises:
        CheckpointError: KenLM cannot read it.
    """

    def __init__(self, files: NgramFiles) -> None:
        self._model = _load(files.model)
        listed = set(files.words())
        self.known_words = frozenset(word for word in listed if word in self._model)
        self._alpha, self._beta = files.alpha, files.beta
        self._unknown = files.unk_score_offset
        self._scores_boundary = files.score_boundary
        self.unknown_score = self._unknown if listed else 0.0
        self.history = self._model.order - 1
        # KenLM's scores are logarithms of probabilities: at most 0.
        highest = self._alpha * _LN_10 * max(0.0, self._unknown) + self._beta
        self.max_word_score = highest if self._alpha >= 0 else math.inf

    def start(self) -> kenlm.State:
        """The state at the start of a text."""
        state = kenlm.State()
        if self._scores_boundary:
            self._model.BeginSentenceWrite(state)
        else:
            self._model.NullContextWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, kenlm.State]:
        """The score of a word after a state, and the state after the word."""
        after = kenlm.State()
        score = self._model.BaseScore(state, word, after)
        if (self.known_words and word not in self.known_words) or word not in self._model:
            score += self._unknown
        return self._alpha * _LN_10 * score + self._beta, after

    def end_score(self, state: Any) -> float:
        """The score of a text's end after a state."""
        if not self._scores_boundary:
            return 0.0
        score = self._model.BaseScore(state, "</s>", kenlm.State())
        return float(self._alpha * _LN_10 * score)


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
