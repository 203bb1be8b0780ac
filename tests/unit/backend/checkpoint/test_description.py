from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from asr_backend import __version__
from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from tests.support.backend.checkpoints import SYMBOLS, write_settings

CONFIG = {"architectures": ["Wav2Vec2ForCTC"], "model_type": "wav2vec2", "vocab_size": 32}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = write_settings(tmp_path / "my-model", CONFIG)
    save_file({"weight": np.zeros(4, np.float32)}, path / "model.safetensors")
    return path


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes a key."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content.update(values)
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_reads_what_base_960h_says(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.id, checkpoint.revision) == ("my-model", "local")
    assert checkpoint.model_type == "wav2vec2"
    assert checkpoint.vocabulary == SYMBOLS
    assert checkpoint.blank_id == 0
    assert checkpoint.word_delimiter_id == 4
    assert checkpoint.special_ids == {0, 1, 2, 3}
    assert checkpoint.do_normalize is True
    assert checkpoint.stride_samples == 320
    assert checkpoint.receptive_field_samples == 400


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49)]
)
def test_frame_count_is_that_of_unpadded_convolutions(
    folder: Path, samples: int, frames: int
) -> None:
    assert load_checkpoint(folder).frame_count(samples) == frames


def test_given_names_win(folder: Path) -> None:
    checkpoint = load_checkpoint(folder, id="acme/model", revision="abc")
    assert (checkpoint.id, checkpoint.revision) == ("acme/model", "abc")


def test_the_demo_names_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo_checkpoint().name == "demo_checkpoint"
    monkeypatch.setattr("asr_backend.checkpoint.description.demo_checkpoint", lambda: folder)
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.id, checkpoint.revision) == ("demo", __version__)


def test_tokens_added_behind_the_vocabulary(folder: Path) -> None:
    """Many fine-tuned checkpoints: [PAD] last, <s> and </s> added by the tokenizer."""
    (folder / "vocab.json").write_text(json.dumps({"|": 0, "a": 1, "[UNK]": 2, "[PAD]": 3}))
    (folder / "added_tokens.json").write_text(json.dumps({"<s>": 4, "</s>": 5}))
    change(folder / "config.json", vocab_size=5, pad_token_id=3)
    change(
        folder / "tokenizer_config.json",
        pad_token={"content": "[PAD]", "special": True},
        unk_token="[UNK]",
        added_tokens_decoder={"5": {"content": "</s>"}},
    )
    checkpoint = load_checkpoint(folder)
    assert checkpoint.vocabulary == ("|", "a", "[UNK]", "[PAD]", "<s>")
    assert checkpoint.blank_id == 3
    assert checkpoint.word_delimiter_id == 0
    assert checkpoint.special_ids == {2, 3, 4}


def test_outputs_without_a_symbol_never_become_text(folder: Path) -> None:
    change(folder / "config.json", vocab_size=34)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.vocabulary[32:] == ("", "")
    assert {32, 33} < checkpoint.special_ids


def test_a_null_blank_is_the_tokenizers_padding_token(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, "pad_token_id": None}))
    change(folder / "tokenizer_config.json", pad_token="<unk>")
    assert load_checkpoint(folder).blank_id == 3


def test_no_word_delimiter(folder: Path) -> None:
    change(folder / "tokenizer_config.json", word_delimiter_token="~")
    assert load_checkpoint(folder).word_delimiter_id is None


def test_a_processor_file_holds_the_feature_extractor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    change(folder / "processor_config.json", feature_extractor={"do_normalize": False})
    assert load_checkpoint(folder).do_normalize is False


def test_sharded_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    index = folder / "model.safetensors.index.json"
    change(index, weight_map={"weight": "part-1.safetensors"})
    assert load_checkpoint(folder)
    change(index, weight_map={"weight": "part-1.safetensors", "bias": "part-2.safetensors"})
    with pytest.raises(CheckpointError, match=r"has no part-2\.safetensors"):
        load_checkpoint(folder)


def test_shards_without_a_tensor(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    change(folder / "model.safetensors.index.json", weight_map={})
    with pytest.raises(CheckpointError, match="has no weights"):
        load_checkpoint(folder)


def test_pickled_weights_only_names_the_way_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"asr-server convert .*my-model DST"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not a safetensors file"),
        (b"", "not a safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{}", "not a safetensors file"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a safetensors file"),
    ],
)
def test_weights_that_are_no_weights(folder: Path, content: bytes, message: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_weights_cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cut short"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"architectures": ["Wav2Vec2ForPreTraining"]}, "not a CTC checkpoint"),
        ("config.json", {"architectures": []}, "none named"),
        ("config.json", {"model_type": "wav2vec2-bert"}, "model_type 'wav2vec2-bert' is none of"),
        ("config.json", {"add_adapter": True}, "add_adapter"),
        ("config.json", {"pad_token_id": 32}, "not one of the 32 outputs"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "8000 Hz"),
        ("config.json", {"vocab_size": "32"}, "a setting is not as it should be"),
        ("config.json", {"conv_stride": 5}, "a setting is not as it should be"),
        ("config.json", {"conv_stride": [5, 2]}, "a setting is not as it should be"),
        ("config.json", {"conv_kernel": [10, 3, 3, 3, 3, 2, "2"]}, "a setting is not as it should"),
        ("vocab.json", {"eng": {"a": 0}}, "but no adapters"),
        ("vocab.json", {"a": "b"}, "a setting is not as it should be"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    folder: Path, name: str, values: dict[str, Any], message: str
) -> None:
    change(folder / name, **values)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["config.json", "vocab.json", "preprocessor_config.json", "model.safetensors"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(folder)


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_broken_file_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(folder)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        load_checkpoint(tmp_path / "absent")
