"""The same search by pyctcdecode, which is the reference for texts and language models' states."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import kenlm
from pyctcdecode import BeamSearchDecoderCTC
from pyctcdecode.alphabet import BPE_TOKEN, Alphabet
from pyctcdecode.constants import LOG_BASE_CHANGE_FACTOR
from pyctcdecode.language_model import AbstractLanguageModel, LanguageModel

from asr_backend.ctc.emissions import Emissions
from asr_backend.ctc.ngram_files import NgramFiles

# It warns about small vocabularies.
logging.getLogger("pyctcdecode").setLevel(logging.ERROR)


class _AllAlike(AbstractLanguageModel):
    """All words are equally likely."""

    order = 1

    def get_start_state(self) -> None: ...

    def score_partial_token(self, partial_token: str) -> float:
        return 0.0

    def score(self, prev_state: None, word: str, is_last_word: bool = False) -> tuple[float, None]:
        return 0.0, None


class _Ngrams(LanguageModel):
    def __init__(self, files: NgramFiles, *, last: bool) -> None:
        words = set(files.words())
        super().__init__(
            kenlm.Model(str(files.model)),
            words or None,
            alpha=files.alpha,
            beta=files.beta,
            unk_score_offset=files.unk_score_offset,
            score_boundary=files.score_boundary,
        )
        self._knows_words, self._last = bool(words), last

    def score_partial_token(self, partial_token: str) -> float:
        return float(super().score_partial_token(partial_token)) if self._knows_words else 0.0

    def score(self, prev_state: Any, word: str, is_last_word: bool = False) -> tuple[float, Any]:
        score, state = super().score(prev_state, word) if word else (0.0, prev_state)
        if is_last_word and self._last:
            score += self.alpha * LOG_BASE_CHANGE_FACTOR * self._get_raw_end_score(state)
        return score, copy.copy(state)


def find(
    labels: Sequence[str],
    files: NgramFiles | None,
    emissions: Emissions,
    *,
    beam_width: int,
    hotwords: Sequence[str],
    hotword_weight: float,
    last: bool,
    symbols_are_words: bool = False,
) -> tuple[str, Any]:
    """What PrefixSearch.find returns, from the start of a text."""
    model = _AllAlike() if files is None else _Ngrams(files, last=last)
    # A token of a BPE alphabet that begins with its mark begins a word.
    marked = [BPE_TOKEN + label if label and symbols_are_words else label for label in labels]
    search = BeamSearchDecoderCTC(Alphabet(marked, is_bpe=symbols_are_words), model)
    text, state, *_ = search.decode_beams(
        emissions,
        beam_width=beam_width,
        prune_history=True,
        hotwords=hotwords,
        hotword_weight=hotword_weight,
    )[0]
    search.cleanup()
    return text, state
