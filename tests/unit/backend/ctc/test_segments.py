from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.ctc.segments import Segments
from tests.support.backend.emissions import checkpoint, emissions, spell


def cut(text: str, *, sizes: tuple[int, ...] = (), delimiter: str | None = "|") -> list[int]:
    frames = emissions(spell(text), probabilities=[0.95] * len(text))
    segments = Segments(checkpoint(delimiter=delimiter), min_frames=4, max_frames=9)
    parts = []
    for part in np.split(frames, np.cumsum(sizes)) if sizes else [frames]:
        parts += segments.push(part)
    parts.append(segments.finish())
    assert np.array_equal(np.concatenate(parts), frames)
    return [len(part) for part in parts]


def test_it_cuts_between_words():
    assert cut("ABC_D __A") == [5, 4]
    assert cut("AB _CD E") == [6, 2]
    assert cut("ABCD") == [4]


def test_a_rest_inside_a_word_is_no_place_to_cut_and_a_word_without_end_is_cut():
    assert cut("A_B_C_D E") == [7, 2]
    assert cut("A_B_C_D_E_F_ G") == [9, 5]


def test_silence_is_cut_anywhere():
    assert cut("_" * 14) == [4, 4, 4, 2]


def test_without_a_delimiter_it_cuts_at_rests():
    assert cut("ABCDE_FGH", delimiter=None) == [5, 4]


@given(st.text("AB _", max_size=40), st.lists(st.integers(0, 10), max_size=8))
def test_cuts_do_not_depend_on_the_pushes(text: str, sizes: list[int]):
    assert cut(text, sizes=tuple(sizes)) == cut(text)
