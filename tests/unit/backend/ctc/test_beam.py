"""Beam search compared with greedy decoding, and the effect of hot words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.ctc.beam import MAX_SEGMENT_S, BeamDecoder, BeamSearch
from asr_backend.ctc.decoders import BeamSettings, Decoders
from asr_backend.ctc.greedy import GreedyDecoder
from asr_backend.ctc.ngram_files import NgramFiles
from asr_backend.ctc.search import library
from asr_backend.ctc.search.library import SearchStopped
from asr_backend.ctc.transcription import Transcription
from asr_backend.errors import AsrError, ErrorCode
from tests.support.backend.emissions import BASE_VOCABULARY, checkpoint, emissions, spell
from tests.unit.backend.ctc.test_search import drawn

CHECKPOINT = checkpoint()
SEARCH = BeamSearch(CHECKPOINT)
WORDS = ("ACE", "TEN", "OF", "HEARTS", "A", "BOOK")


def decoded(
    frames: np.ndarray,
    *,
    sizes: tuple[int, ...] = (),
    hotwords: tuple[str, ...] = (),
    hotword_weight: float = 10.0,
    beam_width: int = 50,
) -> Transcription:
    decoder = BeamDecoder(
        SEARCH, beam_width=beam_width, hotwords=hotwords, hotword_weight=hotword_weight
    )
    for part in np.split(frames, np.cumsum(sizes)) if sizes else [frames]:
        decoder.push(part)
    return decoder.finish(len(frames) * 0.02)


def greedy(frames: np.ndarray) -> Transcription:
    decoder = GreedyDecoder(CHECKPOINT)
    decoder.push(frames)
    return decoder.finish(len(frames) * 0.02)


def spoken(text: str, *, probabilities: list[float] | None = None) -> np.ndarray:
    """Clear speech: each letter is followed by a blank."""
    return emissions(
        [symbol for letter in text for symbol in (*spell(letter), "<pad>")],
        probabilities=probabilities,
    )


def between(frames: np.ndarray, at: int, first: str, second: str) -> np.ndarray:
    """The same, but in one frame two letters are likely, the first a little more."""
    frames = frames.copy()
    frames[at] = np.log(0.001)
    frames[at, BASE_VOCABULARY.index(first)] = np.log(0.55)
    frames[at, BASE_VOCABULARY.index(second)] = np.log(0.4)
    return frames


@given(st.lists(st.sampled_from(WORDS), max_size=8), st.integers(0, 2**32 - 1))
def test_clear_speech_is_what_greedy_decoding_makes_of_it(words: list[str], seed: int) -> None:
    text = " ".join(words)
    noise = np.random.default_rng(seed).uniform(0.8, 0.99, 2 * len(text))
    frames = spoken(text, probabilities=noise.tolist())
    assert decoded(frames) == greedy(frames)


def test_a_decoder_that_is_stopped_searches_no_more() -> None:
    decoder = BeamDecoder(SEARCH, beam_width=5, hotwords=(), hotword_weight=0.0)
    decoder.stop()
    with pytest.raises(SearchStopped):
        decoder.push(np.repeat(spoken("A"), 600, axis=0))
    # The search is shared, and still works for other recordings.
    assert decoded(spoken("ACE")).text == "ACE"


def test_paths_of_one_text_add_up() -> None:
    frames = np.full((2, len(BASE_VOCABULARY)), 1e-6)
    frames[:, BASE_VOCABULARY.index("<pad>")] = 0.5
    frames[:, BASE_VOCABULARY.index("A")] = 0.4
    log_probs = np.log(frames).astype(np.float32)
    assert greedy(log_probs).text == ""
    found = decoded(log_probs)
    assert found.text == "A"
    assert found.confidence == pytest.approx(0.4)


def test_a_hot_word_flips_the_result() -> None:
    frames = between(spoken("BUDS OF MAY"), 4, "D", "S")
    frames = between(frames, 4, "D", "L")
    assert decoded(frames).text == "BUDS OF MAY"
    assert decoded(frames, hotwords=("BULS",)).text == "BULS OF MAY"
    assert decoded(frames, hotwords=("buls",)).text == "BULS OF MAY"
    assert decoded(frames, hotwords=("of buls",)).text == "BULS OF MAY"
    assert decoded(frames, hotwords=("BULS",), hotword_weight=0).text == "BUDS OF MAY"
    assert decoded(frames, hotwords=("TEN",)).text == "BUDS OF MAY"
    (found, *_) = decoded(frames, hotwords=("BULS",)).chars[2:]
    assert (found.text, found.start_s) == ("L", pytest.approx(0.08))
    assert found.confidence == pytest.approx(0.4)


def test_a_hot_word_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(AsrError, match=r"'na\\xefve'.*never writes '\\xef'") as caught:
        decoded(spoken("A"), hotwords=("naïve",))
    assert caught.value.code is ErrorCode.BAD_OPTIONS


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 900), max_size=8), st.integers(0, 2**32 - 1))
def test_long_speech_does_not_depend_on_the_pushes(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = " ".join(rng.choice(WORDS, 120))
    probabilities = rng.uniform(0.5, 0.99, 2 * len(text)).tolist()
    frames = spoken(text, probabilities=probabilities)
    whole = decoded(frames, beam_width=4)
    assert decoded(frames, sizes=tuple(sizes), beam_width=4) == whole
    assert whole.text == text
    starts = [word.start_s for word in whole.words]
    assert starts == sorted(starts)


def test_it_holds_a_segment_whatever_it_is_given() -> None:
    decoder = BeamDecoder(SEARCH, beam_width=2, hotwords=(), hotword_weight=0)
    frames = spoken("A BOOK OF HEARTS ")
    for _ in range(200):
        decoder.push(frames)
        assert len(decoder._segments._open) < MAX_SEGMENT_S * 50
    assert decoder.finish(1e9).text == " ".join(["A BOOK OF HEARTS"] * 200)


def test_silence_and_nothing() -> None:
    silence = emissions(spell("____"), probabilities=[0.9, 0.8, 0.7, 0.6])
    assert decoded(silence) == greedy(silence)
    nothing = silence[:0]
    assert decoded(nothing) == greedy(nothing)


def test_vocabularies_of_other_kinds() -> None:
    vocabulary = ("t", "th", "e", "h", "<blank>", "É")
    odd = checkpoint(vocabulary, blank="<blank>", delimiter=None, special=("<blank>",))
    decoder = BeamDecoder(BeamSearch(odd), beam_width=10, hotwords=(), hotword_weight=0)
    frames = emissions(["th", "e", "<blank>", "e", "É", "<blank>"] * 300, vocabulary)
    decoder.push(frames)
    result = decoder.finish(100)
    assert result.text == "theeÉ" * 300
    assert len(result.words) == 1


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.booleans(), st.sampled_from([0.5, 2, 5]))
def test_symbols_of_several_letters(
    seed: int, frame_count: int, has_delimiter: bool, spread: float
) -> None:
    """A text is spelled as the sound has it: `ab` is one symbol, or two."""
    vocabulary = ("<pad>", "a", "b", "ab", "ba", "aba", "aa", *["|"] * has_delimiter)
    delimiter = "|" if has_delimiter else None
    odd = checkpoint(vocabulary, delimiter=delimiter, special=("<pad>",))
    frames = drawn(np.random.default_rng(seed), frame_count, vocabulary, spread)
    searched = BeamDecoder(BeamSearch(odd), beam_width=20, hotwords=(), hotword_weight=0)
    searched.push(frames)
    found = searched.finish(1)
    greedy = GreedyDecoder(odd)
    greedy.push(frames)
    if found.text == (expected := greedy.finish(1)).text:
        assert found == expected
    assert "".join(char.text for char in found.chars) == found.text.replace(" ", "")


def test_settings_reach_the_search() -> None:
    decoders = Decoders(CHECKPOINT)
    frames = between(spoken("BUDS"), 4, "D", "L")
    for beam, text in (
        (BeamSettings(), "BUDS"),
        (BeamSettings(hotwords=("BULS",)), "BULS"),
        (BeamSettings(hotwords=("BULS",), hotword_weight=0), "BUDS"),
        (None, "BUDS"),
    ):
        decoder = decoders.decoder(None, beam)
        decoder.push(frames)
        assert decoder.finish(1).text == text


def test_without_kenlm_a_language_model_is_refused_and_the_beam_searches(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    decoders = Decoders(CHECKPOINT, NgramFiles(model=Path("model.arpa")))
    with pytest.raises(AsrError, match=r"BAD_OPTIONS: .*KenLM.*extra beam"):
        decoders.decoder(None, BeamSettings())
    assert decoders.decoder(None, None)
    assert Decoders(CHECKPOINT).decoder(None, BeamSettings())


def test_without_the_library_beam_search_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(library.load_library, "__defaults__", (tmp_path / "absent.so",))
    decoders = Decoders(CHECKPOINT)
    with pytest.raises(AsrError, match=r"BAD_OPTIONS: .*not built for this machine"):
        decoders.decoder(None, BeamSettings())
    assert decoders.decoder(None, None)
