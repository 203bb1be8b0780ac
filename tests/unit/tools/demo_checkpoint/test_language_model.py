import math
from pathlib import Path

import kenlm
import pytest
from transformers import Wav2Vec2ProcessorWithLM

from tools.demo_checkpoint.grammar import VOCABULARY
from tools.demo_checkpoint.language_model import bigram_arpa, write_language_model
from tools.demo_checkpoint.model import SYMBOLS

FOLDER = Path(__file__).parents[4] / "python_backend/src/asr_backend/demo_checkpoint"


def test_the_estimate_is_witten_and_bells(tmp_path: Path) -> None:
    path = tmp_path / "tiny.arpa"
    path.write_text(bigram_arpa(["GO LEFT", "GO LEFT", "GO RIGHT", "STOP"]))
    model = kenlm.Model(str(path))
    # Behind GO: three words seen, two different ones; LEFT twice, and 2 of 11 words in all.
    (_, _, _), (left, _, _), _ = model.full_scores("GO LEFT")
    assert 10**left == pytest.approx((2 + 2 * 2 / 11) / (3 + 2), abs=1e-4)
    # Behind STOP: one word seen; GO never, and 3 of 11 words in all.
    _, (go, _, _), _ = model.full_scores("STOP GO")
    assert 10**go == pytest.approx((1 / (1 + 1)) * 3 / 11, abs=1e-4)


def test_what_follows_a_word_adds_up_to_one() -> None:
    model = kenlm.Model(str(FOLDER / "language_model" / "bigram.arpa"))
    words = [word.upper() for word in sorted(VOCABULARY)]
    for history in ("SEVEN", "OF", "TURN"):
        after = [list(model.full_scores(f"{history} {word}", eos=False))[1][0] for word in words]
        _, (end, _, _) = model.full_scores(history)
        assert math.fsum(10**score for score in (*after, end)) == pytest.approx(1, abs=2e-3)


def test_the_folder_holds_what_the_program_writes(tmp_path: Path) -> None:
    write_language_model(tmp_path)
    written = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert [path.name for path in written] == [
        "alphabet.json",
        "attrs.json",
        "bigram.arpa",
        "unigrams.txt",
    ]
    for path in written:
        assert (tmp_path / path).read_text() == (FOLDER / path).read_text()


def test_hugging_face_reads_the_folder() -> None:
    decoder = Wav2Vec2ProcessorWithLM.from_pretrained(FOLDER).decoder
    assert len(decoder._alphabet.labels) == len(SYMBOLS)
