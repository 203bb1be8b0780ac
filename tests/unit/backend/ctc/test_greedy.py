from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.ctc.decoders import Decoder
from asr_backend.ctc.greedy import GreedyDecoder
from asr_backend.ctc.transcription import Transcription
from tests.support.backend.emissions import BASE_VOCABULARY, checkpoint, emissions, spell

CHECKPOINT = checkpoint()


def decoded(
    text: str, *, sizes: tuple[int, ...] = (), probabilities: list[float] | None = None
) -> Transcription:
    frames = emissions(spell(text), probabilities=probabilities)
    decoder: Decoder = GreedyDecoder(CHECKPOINT)
    for part in np.split(frames, np.cumsum(sizes)) if sizes else [frames]:
        decoder.push(part)
    return decoder.finish(len(frames) * 0.02)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("HEL_LO", "HELLO"),
        ("HHEEELL__LLLO", "HELLO"),
        ("HELLO", "HELO"),
        ("_  _HE_  _ _ ME__ ", "HE ME"),
        ("A _ B", "A B"),
        ("", ""),
        ("____", ""),
        (" _ _ ", ""),
        ("'T", "'T"),
    ],
)
def test_repeats_collapse_before_blanks_drop(frames: str, text: str) -> None:
    assert decoded(frames).text == text


def test_special_symbols_never_become_text() -> None:
    frames = emissions(["<s>", "A", "<unk>", "A", "</s>", "B", "<pad>"])
    decoder = GreedyDecoder(CHECKPOINT)
    decoder.push(frames)
    assert decoder.finish(1).text == "AAB"


def test_times_lie_on_the_frame_grid() -> None:
    result = decoded("__HH_E  __ME__")
    assert [(c.text, c.start_s, c.end_s) for c in result.chars] == [
        ("H", 0.04, 0.08),
        ("E", 0.1, 0.12),
        ("M", 0.2, 0.22),
        ("E", 0.22, 0.24),
    ]
    assert [(w.text, w.start_s, w.end_s) for w in result.words] == [
        ("HE", 0.04, 0.12),
        ("ME", 0.2, 0.24),
    ]


def test_no_time_is_after_the_end() -> None:
    decoder = GreedyDecoder(CHECKPOINT)
    decoder.push(emissions(spell("AB")))
    (word,) = decoder.finish(0.03).words
    assert (word.start_s, word.end_s) == (0, 0.03)


def test_confidences() -> None:
    result = decoded("AA_B _C", probabilities=[0.5, 0.8, 0.9, 0.6, 0.9, 0.9, 0.7])
    assert [c.confidence for c in result.chars] == pytest.approx([0.8, 0.6, 0.7])
    assert [w.confidence for w in result.words] == pytest.approx([0.48, 0.7])
    assert result.confidence == pytest.approx((0.48 + 0.7) / 2)
    assert decoded("__", probabilities=[0.9, 0.4]).confidence == pytest.approx(0.6)
    assert decoded("").confidence == 0
    certain = np.full((1, len(BASE_VOCABULARY)), -np.inf, np.float32)
    certain[0, BASE_VOCABULARY.index("A")] = 1e-7
    decoder = GreedyDecoder(CHECKPOINT)
    decoder.push(certain)
    assert decoder.finish(1).confidence == 1


@given(st.text("AB _", max_size=40), st.lists(st.integers(0, 10), max_size=8))
def test_pushes_may_split_anywhere(frames: str, sizes: list[int]) -> None:
    assert decoded(frames, sizes=tuple(sizes)) == decoded(frames)


def test_letter_case_and_long_symbols_stay_as_the_vocabulary_has_them() -> None:
    vocabulary = ("th", "e", "É", "<blank>", "")
    decoder = GreedyDecoder(
        checkpoint(vocabulary, blank="<blank>", delimiter=None, special=("<blank>",))
    )
    decoder.push(emissions(["th", "e", "<blank>", "e", "É", ""], vocabulary))
    result = decoder.finish(1)
    assert result.text == "theeÉ"
    assert result.confidence == result.words[0].confidence == pytest.approx(0.9)
    assert [char.text for char in result.chars] == ["th", "e", "e", "É"]
    assert [word.text for word in result.words] == ["theeÉ"]


def test_it_keeps_runs_not_frames() -> None:
    decoder = GreedyDecoder(CHECKPOINT)
    frames = emissions(["A", "<pad>"] * 50)
    for _ in range(10):
        decoder.push(frames)
    assert len(decoder.finish(100).chars) == 500
    assert not any(isinstance(value, np.ndarray) for value in vars(decoder).values())
