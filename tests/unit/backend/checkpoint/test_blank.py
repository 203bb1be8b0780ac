"""The CTC blank where config.json and the tokenizer name different ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from asr_backend.checkpoint.description import Checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.greedy import GreedyDecoder
from tests.support.backend.checkpoints import write_settings
from tests.support.backend.emissions import emissions

VOCABULARY = {"A": 0, "B": 1, "|": 2, "[PAD]": 3, "-": 4, "<s>": 5}
ABSENT = object()


def checkpoint(
    path: Path, *, pad_token: Any, pad_token_id: Any, blank_id: int | None = None
) -> Checkpoint:
    config = {"architectures": ["Wav2Vec2ForCTC"], "model_type": "wav2vec2", "vocab_size": 6}
    if pad_token_id is not ABSENT:
        config["pad_token_id"] = pad_token_id
    write_settings(path, config)
    (path / "vocab.json").write_text(json.dumps(VOCABULARY))
    tokenizer = {} if pad_token is ABSENT else {"pad_token": pad_token}
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    save_file({"lm_head.weight": np.zeros((6, 1), np.float32)}, path / "model.safetensors")
    return load_checkpoint(path, blank_id=blank_id)


@pytest.mark.parametrize(
    ("pad_token", "pad_token_id", "blank_id", "warned"),
    [
        ("[PAD]", 3, 3, False),
        ("[PAD]", None, 3, False),
        ("[PAD]", 0, 3, True),
        ("[PAD]", ABSENT, 3, True),
        ("[PAD]", 4, 3, True),
        ({"content": "[PAD]"}, 0, 3, True),
        # The tokenizer's padding token is none of the outputs.
        (ABSENT, 4, 4, True),
        ("-", 3, 4, True),
    ],
)
def test_the_tokenizer_s_is_taken(
    tmp_path: Path, pad_token: Any, pad_token_id: Any, blank_id: int, warned: bool
) -> None:
    found = checkpoint(tmp_path, pad_token=pad_token, pad_token_id=pad_token_id)
    assert found.blank_id == blank_id
    assert len(found.warnings) == warned
    for warning in found.warnings:
        assert f"took {blank_id} as the CTC blank, --blank-id takes another" in warning
        assert "\n" not in warning


def test_no_letter_vanishes(tmp_path: Path) -> None:
    found = checkpoint(tmp_path, pad_token="[PAD]", pad_token_id=0)
    decoder = GreedyDecoder(found)
    decoder.push(emissions(["A", "[PAD]", "A", "B", "|", "A"], found.vocabulary))
    assert decoder.finish(1).text == "AAB A"


@pytest.mark.parametrize(
    ("pad_token", "pad_token_id"), [(ABSENT, 0), (ABSENT, ABSENT), ("B", 3), ("A", 4)]
)
def test_a_letter_is_refused_unless_the_flag_says_so(
    tmp_path: Path, pad_token: Any, pad_token_id: Any
) -> None:
    with pytest.raises(CheckpointError, match=r"with --blank-id$") as caught:
        checkpoint(tmp_path, pad_token=pad_token, pad_token_id=pad_token_id)
    assert "\n" not in str(caught.value)
    for blank_id in (0, 3):
        found = checkpoint(
            tmp_path, pad_token=pad_token, pad_token_id=pad_token_id, blank_id=blank_id
        )
        assert (found.blank_id, found.warnings) == (blank_id, ())
        assert blank_id in found.silent_ids


def test_a_flag_that_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the blank \(--blank-id 6\) is not one of the 6"):
        checkpoint(tmp_path, pad_token="[PAD]", pad_token_id=3, blank_id=6)
