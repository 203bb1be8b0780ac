"""Checkpoints that cannot be served: the start ends with one line that says why; no crash."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from asr_backend.checkpoint.description import demo_checkpoint
from tests.support.ngrams import arpa

pytestmark = pytest.mark.server

NAME = "wav2vec2.encoder.layers.1.attention.k_proj.weight"
CONVOLUTION = "wav2vec2.feature_extractor.conv_layers.6.conv.weight"


def not_a_number(weights: dict) -> None:
    weights[NAME][3, 5] = float("nan")


def too_loud(weights: dict) -> None:
    """A norm undoes it, in fp32."""
    weights[CONVOLUTION] *= 1e6


def started(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """The ended asr-server, its two outputs in one."""
    ports = [f"--{name}-port=0" for name in ("grpc", "metrics", "health")]
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("asr-server")),
            *ports,
            f"--run-dir={tmp_path / 'run'}",
            "--device=cpu",
            *flags,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("spoil", "precision", "reason"),
    [
        (not_a_number, "fp32", f"of the weights {NAME}, 1 of 25600 are NaN or infinite"),
        (
            too_loud,
            "fp16",
            "fp16 on torch, cpu overflows on a second of test sound; start with --precision fp32",
        ),
    ],
)
def test_the_reason_is_one_line(
    tmp_path: Path, spoil: Callable[[dict], None], precision: str, reason: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(demo_checkpoint(), folder)
    weights = load_file(folder / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    done = started(tmp_path, f"--model={folder}", f"--precision={precision}")
    # 139, a segmentation fault, where the model failed in its warm-up instead (docs/triton.md).
    assert done.returncode == 1, done.stdout
    lines = [line for line in done.stdout.splitlines() if "wav2vec2 cannot start: " in line]
    assert len(lines) == 1, done.stdout
    assert lines[0].rpartition("wav2vec2 cannot start: ")[2] == f'{folder}: {reason}"'
    assert done.stdout.splitlines()[-1].endswith(f" cannot start: wav2vec2: {folder}: {reason}")


def missing_tensors(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[NAME], weights[CONVOLUTION]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def another_width(folder: Path) -> None:
    change(folder / "config.json", intermediate_size=256)


def another_vocabulary_size(folder: Path) -> None:
    change(folder / "config.json", vocab_size=30)


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing_tensors, "the weights lack 2 tensors of the network, wav2vec2.encoder.layers.1."),
        (another_width, "intermediate_dense.bias is [512], and config.json makes it [256]"),
        (
            another_vocabulary_size,
            "the weights have 32 outputs (lm_head.weight), config.json has vocab_size 30",
        ),
    ],
)
def test_weights_that_do_not_fit_are_in_the_last_line(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(demo_checkpoint(), folder)
    spoil(folder)
    done = started(tmp_path, f"--model={folder}")
    assert done.returncode != 0
    assert reason in done.stdout.splitlines()[-1], done.stdout


def of_order_8(path: Path) -> None:
    counts = [4, *[1] * 7]
    lines = ["\\data\\", *(f"ngram {order}={n}" for order, n in enumerate(counts, 1)), ""]
    words = ["<unk>", "<s>", "</s>", "ONE"]
    lines += ["\\1-grams:", *(f"-1\t{word}\t0" for word in words), ""]
    for order in range(2, 9):
        lines += [f"\\{order}-grams:", f"-1\t{' '.join(['ONE'] * order)}\t0", ""]
    path.write_text("\n".join([*lines, "\\end\\", ""]))


def cut(path: Path) -> None:
    path.write_text(arpa({"ONE": 0.1, "TWO": 0.1}, {("ONE", "TWO"): 0.1})[:-30])


def without_pairs(path: Path) -> None:
    """As many lines as a disk that was full left, and then the end."""
    text = arpa({"ONE": 0.1, "TWO": 0.1}, {("ONE", "TWO"): 0.1})
    path.write_text(text[: text.index("\\2-grams:")] + "\\end\\\n")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (of_order_8, "it has order 8, and this KenLM reads orders up to 6"),
        (cut, "was the file cut short?"),
        (without_pairs, "KenLM cannot read it: FormatLoadException. Was expecting n-gram header"),
    ],
)
def test_a_language_model_that_cannot_be_read_is_in_the_last_line(
    tmp_path: Path, write: Callable[[Path], None], reason: str
) -> None:
    model = tmp_path / "words.arpa"
    write(model)
    done = started(tmp_path, f"--lm={model}")
    assert done.returncode != 0
    last = done.stdout.splitlines()[-1]
    assert reason in last, done.stdout
    assert str(model) in last
