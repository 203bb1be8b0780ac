from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.ctc.alignment import MIN_LOG_PROB, Part, align, spellings
from asr_backend.ctc.greedy import GreedyDecoder
from tests.support.backend.emissions import BASE_VOCABULARY, checkpoint, emissions, spell

CHECKPOINT = checkpoint()
SILENT = sorted(CHECKPOINT.silent_ids)
BAR = BASE_VOCABULARY.index("|")


IDS = {symbol: id_ for id_, symbol in enumerate(BASE_VOCABULARY)}


def ids(text: str) -> list[list[Part]]:
    return [spellings(word, IDS) for word in text.split()]


def aligned(frames: np.ndarray, text: str) -> list[list[tuple[str, int, int]]]:
    words = align(frames, ids(text), silent_ids=SILENT, delimiter_ids=[BAR])
    return [[(BASE_VOCABULARY[run.id], run.start, run.end) for run in word] for word in words]


@given(
    st.lists(st.sampled_from(["A", "B", "|", "<pad>", "<unk>"]), max_size=30),
    st.integers(0, 2**32 - 1),
)
def test_the_greedy_text_is_found_where_greedy_decoding_found_it(symbols: list[str], seed: int):
    noise = np.random.default_rng(seed).uniform(0.4, 0.95, len(symbols))
    frames = emissions(symbols, probabilities=noise.tolist())
    greedy = GreedyDecoder(CHECKPOINT)
    greedy.push(frames)
    expected = greedy.finish(1e9)
    words = align(frames, ids(expected.text), silent_ids=SILENT, delimiter_ids=[BAR])
    found = [(run.start * 0.02, run.end * 0.02, np.exp(run.log_prob)) for w in words for run in w]
    assert np.allclose(
        found, [(char.start_s, char.end_s, char.confidence) for char in expected.chars]
    )


def test_a_text_that_is_not_the_likeliest_is_found_too():
    assert aligned(emissions(spell("_AA_BC__D_")), "AB D") == [
        [("A", 1, 3), ("B", 4, 5)],
        [("D", 8, 9)],
    ]
    (word,) = aligned(emissions(spell("AA_B")), "AQ")
    assert word[0] == ("A", 0, 2)
    assert word[1][0] == "Q"


def test_a_doubled_letter_needs_a_frame_between():
    (word,) = aligned(emissions(spell("AAA")), "AA")
    assert word == [("A", 0, 1), ("A", 2, 3)]
    with pytest.raises(ValueError, match="2 frames are too few"):
        aligned(emissions(spell("AA")), "AA")


def test_no_text_and_impossible_symbols():
    assert aligned(emissions(spell("__")), "") == []
    frames = emissions(spell("AB"))
    frames[:, BASE_VOCABULARY.index("Q")] = -np.inf
    (word,) = align(frames, ids("Q"), silent_ids=SILENT, delimiter_ids=[BAR])
    assert word[0].log_prob == MIN_LOG_PROB
