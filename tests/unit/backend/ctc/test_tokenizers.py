"""Any tokenizer's folder, decoded as transformers decodes it.

`TOKENIZER_FOLDERS=2000` draws more of them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from transformers import AutoTokenizer

from asr_backend.checkpoint.description import Checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.decoders import BeamSettings, Decoders
from asr_backend.ctc.transcription import Transcription
from tests.support.backend.checkpoints import write_settings

FOLDERS = int(os.environ.get("TOKENIZER_FOLDERS", "60"))
CONFIG = {"architectures": ["Wav2Vec2ForCTC"], "model_type": "wav2vec2", "pad_token_id": None}
LETTERS = [
    *"ABtheÉßΣ'.-_▁ ~|ʃ\u02d0",
    *("th", "t͡ʃ", "i\u02d0", "oʊ", "Th", "n't", "a b", "'s", "<noise>", "\u3000", "x-y"),
]
ROLES = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
DELIMITERS = st.sampled_from(["|", " ", "~", "_", "<sp>"])


@st.composite
def folders(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """The files of a tokenizer, and the number of outputs."""
    phonemes = draw(st.booleans())
    name = "Wav2Vec2PhonemeCTCTokenizer" if phonemes else "Wav2Vec2CTCTokenizer"
    config: dict[str, Any] = {"do_phonemize": False} if phonemes else {}
    files: dict[str, Any] = {"config.json": CONFIG, "tokenizer_config.json": config}
    if phonemes or draw(st.booleans()):
        file = draw(st.sampled_from(sorted(files)))
        files[file] = files[file] | {"tokenizer_class": name}
        config = files["tokenizer_config.json"]
    tokens = draw(st.lists(st.sampled_from(LETTERS), min_size=2, max_size=12, unique=True))
    for key, default in ROLES.items():
        token = draw(st.sampled_from([default, default, f"[{key.upper()}]", default[:1] + "x>"]))
        if draw(st.booleans()) or token != default:
            config[f"{key}_token"] = token
        if draw(st.integers(0, 3)):
            tokens.append(token)
    if draw(st.booleans()):
        config["word_delimiter_token"] = draw(DELIMITERS | st.none())
        if draw(st.booleans()) and config["word_delimiter_token"]:
            tokens.append(config["word_delimiter_token"])
    for key, values in {
        "replace_word_delimiter_char": st.sampled_from([" ", "_", "", "-", "·"]),
        "do_lower_case": st.booleans(),
        "clean_up_tokenization_spaces": st.booleans(),
        "phone_delimiter_token": st.just(" "),
        "additional_special_tokens": st.sampled_from([["<noise>"], ["<noise>", "[L]"]]),
        "extra_special_tokens": st.sampled_from([{"noise_token": "<noise>"}, {"x_token": "[E]"}]),
    }.items():
        if draw(st.booleans()):
            config[key] = draw(values)
    tokens = draw(st.permutations(list(dict.fromkeys(tokens))))
    # Beside a hole, transformers gives letters' ids to the special tokens that no file lists.
    roles = {config.get(f"{key}_token", token) for key, token in ROLES.items()}
    unlisted = {"additional_special_tokens", "extra_special_tokens"} & config.keys()
    may_have_hole = not phonemes and not unlisted and roles <= set(tokens)
    hole = draw(st.integers(0, len(tokens))) if may_have_hole else len(tokens)
    files["vocab.json"] = {token: id_ + (id_ > hole) for id_, token in enumerate(tokens)}
    outputs = len(tokens) + 1
    extra = draw(st.lists(st.sampled_from(["Q", "<noise>", "th", "[X]", "qu"]), max_size=2))
    if extra and draw(st.booleans()):
        config["added_tokens_decoder"] = {
            str(outputs + place): {"content": token, "special": draw(st.booleans())}
            for place, token in enumerate(dict.fromkeys(extra))
        }
    elif extra:
        files["added_tokens.json"] = {
            token: outputs + place
            for place, token in enumerate(token for token in dict.fromkeys(extra))
            if token not in tokens
        }
    return files, outputs


def write(path: Path, files: dict[str, Any], outputs: int) -> Any:
    """Write the folder; returns transformers' tokenizer of it."""
    write_settings(path, CONFIG)
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    config = files["tokenizer_config.json"]
    # transformers 5.20 forgets a delimiter that is text, of Wav2Vec2CTCTokenizer.
    if "word_delimiter_token" in config:
        tokenizer._word_delimiter_token = config["word_delimiter_token"]
    size = max(outputs, max(tokenizer.added_tokens_decoder, default=0) + 1)
    (path / "config.json").write_text(json.dumps(files["config.json"] | {"vocab_size": size}))
    save_file({"lm_head.weight": np.zeros((size, 1), np.float32)}, path / "model.safetensors")
    return tokenizer


def comparable(tokenizer: Any, ids: list[int]) -> list[int]:
    """The ids with blanks for special symbols, and for more than one delimiter between two words.

    transformers writes `<unk>`, and a space for each delimiter; neither is wanted in a text.
    """
    is_phoneme = type(tokenizer).__name__ == "Wav2Vec2PhonemeCTCTokenizer"
    delimiters = {tokenizer._word_delimiter_token}
    if not is_phoneme:
        delimiters.add(tokenizer.replace_word_delimiter_char)
    delimiters = {None if token is None else str(token) for token in delimiters}
    delimiters.discard(str(tokenizer.pad_token))
    silent = {str(getattr(tokenizer, f"{role}_token")) for role in ROLES} - delimiters
    written: list[int] = []
    gap: list[int] = []
    blank = tokenizer.pad_token_id
    for id_, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        is_delimiter = token in delimiters and not is_phoneme
        if token in silent or is_delimiter:
            gap.append(id_ if is_delimiter else blank)
            continue
        inside = [place for place, gap_id in enumerate(gap) if gap_id != blank]
        kept = inside[:1] if any(one != blank for one in written) else []
        written += [one if place in kept else blank for place, one in enumerate(gap)]
        written.append(id_)
        gap = []
    return written + [blank] * len(gap)


def emissions(ids: list[int], size: int) -> np.ndarray:
    frames = np.full((len(ids), size), 0.001 / size, np.float32)
    frames[np.arange(len(ids)), ids] = 0.999
    return np.log(frames)


def decoded(checkpoint: Checkpoint, frames: np.ndarray, beam: BeamSettings | None) -> Transcription:
    decoder = Decoders(checkpoint).decoder(None, beam)
    decoder.push(frames)
    return decoder.finish(len(frames) * 0.02)


def frame(time_s: float) -> int:
    return round(time_s / 0.02)


@settings(max_examples=FOLDERS, suppress_health_check=list(HealthCheck))
@given(folders(), st.data())
def test_text_and_offsets_are_those_of_transformers(
    drawn: tuple[dict[str, Any], int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = write(Path(folder), *drawn)
        checkpoint = load_checkpoint(Path(folder))
    size = len(checkpoint.vocabulary)
    ids = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=25))
    runs = data.draw(st.lists(st.integers(1, 3), min_size=len(ids), max_size=len(ids)))
    ids = [id_ for id_, run in zip(ids, runs, strict=True) for _ in range(run)]
    found = decoded(checkpoint, emissions(ids, size), None)
    same = comparable(tokenizer, ids)
    key = "char" if checkpoint.spelling.phonemes else "word"
    wanted = tokenizer.decode(same, **{f"output_{key}_offsets": True})
    spans = [(one[key], one["start_offset"], one["end_offset"]) for one in wanted[f"{key}_offsets"]]
    assert found.words == found.chars or not checkpoint.spelling.phonemes
    lower = checkpoint.spelling.lower_case
    assert found.text == wanted.text
    assert [(word.text, frame(word.start_s), frame(word.end_s)) for word in found.words] == [
        (text.lower() if lower else text, start, end) for text, start, end in spans
    ]
    searched = decoded(checkpoint, emissions(ids, size), BeamSettings(width=20))
    assert searched.text == found.text
    assert [word.text for word in searched.words] == [word.text for word in found.words]


def test_phonemes_and_hot_words(tmp_path: Path) -> None:
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "h": 4, "ə": 5, "l": 6, "oʊ": 7}
    files = {
        "config.json": CONFIG,
        "vocab.json": vocabulary,
        "tokenizer_config.json": {
            "tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer",
            "do_phonemize": False,
        },
    }
    write(tmp_path, files, len(vocabulary))
    checkpoint = load_checkpoint(tmp_path)
    frames = emissions([4, 0, 5, 5, 6, 0, 6, 7, 7, 0], len(vocabulary))
    frames[7:9, [6, 7]] = np.log([0.3, 0.5])
    for beam in (None, BeamSettings(), BeamSettings(hotwords=("oʊ",))):
        found = decoded(checkpoint, frames, beam)
        assert found.text == "h ə l l oʊ"
        assert [word.text for word in found.words] == ["h", "ə", "l", "l", "oʊ"]
        assert found.words == found.chars
    with pytest.raises(Exception, match=r"'ol', which is none of this checkpoint's phonemes"):
        decoded(checkpoint, frames, BeamSettings(hotwords=("ol",)))


@pytest.mark.parametrize("name", ["BertTokenizer", "LlamaTokenizerFast"])
def test_another_kind_of_tokenizer_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"config.json": CONFIG, "tokenizer_config.json": {}}, 32)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    with pytest.raises(CheckpointError, match=f"tokenizer_class '{name}' is none of"):
        load_checkpoint(tmp_path)
