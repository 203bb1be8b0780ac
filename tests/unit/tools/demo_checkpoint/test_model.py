import json
from pathlib import Path

from safetensors import safe_open

from tools.demo_checkpoint.model import SYMBOLS, decode, encode

FOLDER = Path(__file__).parents[4] / "python_backend/src/asr_backend/demo_checkpoint"


def test_the_vocabulary_is_that_of_base_960h() -> None:
    vocabulary = json.loads((FOLDER / "vocab.json").read_text())
    assert list(vocabulary.values()) == list(range(32))
    assert tuple(vocabulary) == SYMBOLS
    assert (vocabulary["<pad>"], vocabulary["|"], vocabulary["'"]) == (0, 4, 27)


def test_decode_collapses_repeats_before_blanks() -> None:
    ids = encode("hello")
    framed = [ids[0], ids[0], ids[1], ids[2], 0, ids[3], ids[3], ids[4], 0, 4, 4]
    assert decode(framed) == "hello"
    assert decode([0, 4, 0]) == ""


def test_the_weights_are_fp32_and_small() -> None:
    path = FOLDER / "model.safetensors"
    assert path.stat().st_size <= 10_000_000
    with safe_open(path, "np") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"float32"}  # noqa: SIM118


def test_the_card_names_the_recordings_and_a_rate() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    front = card.split("---")[1]
    assert "name: tests/data recordings" in front
    rate = float(front.split("type: wer\n      value: ")[1].split()[0])
    assert 0 <= rate <= 1
