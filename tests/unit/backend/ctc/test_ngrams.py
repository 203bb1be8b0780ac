"""KenLM language models: how they are found, and their effect."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_backend.checkpoint.description import Checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.beam import BeamDecoder, BeamSearch
from asr_backend.ctc.decoders import BeamSettings, Decoders
from asr_backend.ctc.language_model import Ngrams
from asr_backend.ctc.ngram_files import NgramFiles, find_ngrams
from tests.support.backend.checkpoints import SHAPES, SYMBOLS, write_checkpoint
from tests.support.backend.emissions import BASE_VOCABULARY, checkpoint, emissions
from tests.support.ngrams import arpa
from tests.unit.backend.ctc.test_beam import between, spoken

BIGRAMS = {("BULS", "OF"): 0.5, ("SIX", "BUDS"): 0.9, ("TWO", "BULS"): 0.9}
WORDS = ("BUDS", "BULS", "MAY", "OF", "SIX", "TWO")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.arpa"
    path.write_text(arpa(dict.fromkeys(WORDS, 0.1), BIGRAMS))
    return path


def decoded(search: BeamSearch, frames: np.ndarray, **options: Any) -> str:
    given = {"beam_width": 50, "hotwords": (), "hotword_weight": 10.0, **options}
    decoder = BeamDecoder(search, **given)
    decoder.push(frames)
    return decoder.finish(len(frames) * 0.02).text


def wavering(text: str) -> np.ndarray:
    """Clear, except that the third letter of BUDS may be an L."""
    return between(spoken(text), 2 * text.index("BUDS") + 4, "D", "L")


def test_words_that_follow_each_other_flip_the_result(model: Path) -> None:
    search = BeamSearch(checkpoint(), NgramFiles(model=model))
    assert decoded(BeamSearch(checkpoint()), wavering("TWO BUDS")) == "TWO BUDS"
    assert decoded(search, wavering("TWO BUDS")) == "TWO BULS"
    assert decoded(search, wavering("SIX BUDS")) == "SIX BUDS"
    assert decoded(search, wavering("BUDS OF MAY")) == "BULS OF MAY"
    assert decoded(search, wavering("SIX BUDS"), hotwords=("BULS",)) == "SIX BULS"


def test_a_model_is_loaded_without_a_word(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Decoders(checkpoint(), NgramFiles(model=model))
    assert capfd.readouterr() == ("", "")


def test_what_was_said_before_a_cut_still_counts(model: Path) -> None:
    search = BeamSearch(checkpoint(), NgramFiles(model=model))
    for before, after in (("SIX", "BUDS"), ("TWO", "BULS")):
        first, pause = (
            spoken(before),
            emissions(["|", *["<pad>"] * 400], probabilities=[0.95] * 401),
        )
        frames = np.concatenate([first, pause, wavering("BUDS")])
        assert decoded(search, frames) == f"{before} {after}"


def test_scores_of_words_and_of_the_end(model: Path) -> None:
    ngrams = Ngrams(NgramFiles(model=model))
    score, state = ngrams.score(ngrams.start(), "MAY")
    assert score == pytest.approx(0.5 * math.log(0.1) + 1.5)
    assert score <= ngrams.max_word_score
    assert ngrams.end_score(state) < 0
    assert ngrams.end_score(state) == pytest.approx(0.5 * math.log(0.1))
    assert ngrams.score(state, "QQ")[0] < ngrams.unknown_score / 2
    assert Ngrams(NgramFiles(model=model, score_boundary=False)).end_score(state) == 0


def test_only_the_end_of_a_recording_is_scored_as_one(tmp_path: Path) -> None:
    """A text that goes on in another segment may end with a word that no sentence ends with."""
    path = tmp_path / "ends.arpa"
    path.write_text(arpa(dict.fromkeys(WORDS, 0.1), {("BULS", "</s>"): 1e-6}))
    search = BeamSearch(checkpoint(), NgramFiles(model=path))
    clear = spoken("BULS")
    clear[4] = np.log(1e-4)
    clear[4, BASE_VOCABULARY.index("L")] = np.log(0.6)
    clear[4, BASE_VOCABULARY.index("D")] = np.log(0.3)
    assert decoded(search, clear) == "BUDS"
    pause = emissions(["|", *["<pad>"] * 400], probabilities=[0.95] * 401)
    assert decoded(search, np.concatenate([clear, pause, spoken("OF")])) == "BULS OF"


def test_a_model_whose_words_are_not_listed_punishes_no_beginning(model: Path, tmp_path: Path):
    empty = tmp_path / "unigrams.txt"
    empty.write_text("")
    ngrams = Ngrams(NgramFiles(model=model, unigrams=empty))
    assert ngrams.unknown_score == 0
    assert ngrams.score(ngrams.start(), "QQ")[0] < -5


def test_the_layout_that_hugging_face_writes(model: Path, tmp_path: Path) -> None:
    from pyctcdecode import build_ctcdecoder
    from transformers import (
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ProcessorWithLM,
    )

    folder = write_checkpoint(tmp_path / "checkpoint", next(iter(SHAPES)))
    search = build_ctcdecoder(list(SYMBOLS), str(model), WORDS, alpha=0.7, beta=0.5)
    processor = Wav2Vec2ProcessorWithLM(
        feature_extractor=Wav2Vec2FeatureExtractor.from_pretrained(folder),
        tokenizer=Wav2Vec2CTCTokenizer.from_pretrained(folder),
        decoder=search,
    )
    processor.save_pretrained(folder)
    served = load_checkpoint(folder)
    files = find_ngrams(served, "")
    assert files is not None
    assert (files.alpha, files.beta, files.score_boundary) == (0.7, 0.5, True)
    assert sorted(files.words()) == sorted(WORDS)
    decoders = Decoders(served, files)
    assert BASE_VOCABULARY == SYMBOLS
    for text in ("TWO BUDS", "SIX BUDS", "BUDS OF MAY"):
        frames = wavering(text)
        decoder = decoders.decoder(None, BeamSettings())
        decoder.push(frames)
        assert decoder.finish(9).text == processor.decode(frames).text


def test_what_lm_names(model: Path, tmp_path: Path) -> None:
    served = checkpoint()
    assert find_ngrams(served, "") is None
    for named in (model, model.parent):
        files = find_ngrams(served, str(named))
        assert files is not None
        assert files.model == model
        assert tuple(files.words()) == WORDS
    folder = tmp_path / "other" / "language_model"
    folder.mkdir(parents=True)
    model.rename(folder / "x.arpa")
    (folder / "unigrams.txt").write_text("OF\nMAY\n")
    (folder / "attrs.json").write_text(json.dumps({"alpha": 1, "beta": 0.0}))
    files = find_ngrams(served, str(folder.parent))
    assert files is not None
    assert (files.alpha, files.beta, files.unk_score_offset) == (1.0, 0.0, -10.0)
    assert tuple(files.words()) == ("OF", "MAY")


def refusal(served: Checkpoint, path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        find_ngrams(served, str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_language_model_is_one_line(model: Path, tmp_path: Path) -> None:
    served = checkpoint()
    assert "no such file" in refusal(served, tmp_path / "absent.arpa")
    (tmp_path / "text.bin").write_text("a text")
    assert "neither an ARPA file nor" in refusal(served, tmp_path / "text.bin")
    assert "has 2 language models" in refusal(served, tmp_path)
    (tmp_path / "text.bin").unlink()
    (tmp_path / "attrs.json").write_text('{"gamma": 1}')
    assert "cannot be read" in refusal(served, tmp_path)
    for weight in ("NaN", '"nan"', "-Infinity"):
        (tmp_path / "attrs.json").write_text(f'{{"alpha": {weight}}}')
        assert "alpha is " in refusal(served, tmp_path)
    (tmp_path / "attrs.json").unlink()
    (tmp_path.parent / "alphabet.json").write_text(json.dumps({"labels": ["", "A"]}))
    assert "whose symbol 5 is 'E'" in refusal(served, tmp_path)
    (tmp_path.parent / "alphabet.json").unlink()
    model.write_text(arpa({"buds": 0.5, "MAY": 0.1, "of": 0.1}, {}))
    assert "2 of its first 3 words have letters" in refusal(served, model)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        ("\\2-grams:", r"KenLM cannot read it: FormatLoadException\. Was expecting n-gram header"),
        ("\\end\\", r"KenLM cannot read it: .*End of file"),
    ],
)
def test_a_model_that_kenlm_cannot_read_is_one_line(model: Path, cut: str, reason: str) -> None:
    text = model.read_text()
    model.write_text(text[: text.index(cut)] + ("\\end\\\n" if "2" in cut else ""))
    with pytest.raises(CheckpointError, match=reason) as caught:
        Ngrams(NgramFiles(model=model))
    assert str(caught.value).startswith(f"{model}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_is_found_before_it_is_loaded(model: Path) -> None:
    model.write_text(model.read_text()[:-20])
    with pytest.raises(CheckpointError, match="was the file cut short"):
        find_ngrams(checkpoint(), str(model))
