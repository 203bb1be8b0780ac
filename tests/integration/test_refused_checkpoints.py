"""Checkpoints that cannot be served: the start ends with one line that says why; no crash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from asr_backend.checkpoint.description import demo_checkpoint

pytestmark = pytest.mark.server

NAME = "wav2vec2.encoder.layers.1.attention.k_proj.weight"
CONVOLUTION = "wav2vec2.feature_extractor.conv_layers.6.conv.weight"


def not_a_number(weights: dict) -> None:
    weights[NAME][3, 5] = float("nan")


def too_loud(weights: dict) -> None:
    """A norm undoes it, in fp32."""
    weights[CONVOLUTION] *= 1e6


@pytest.mark.parametrize(
    ("spoil", "precision", "reason"),
    [
        (not_a_number, "auto", f"of the weights {NAME}, 1 of 25600 are NaN or infinite"),
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
    flags = [f"--{name}-port=0" for name in ("grpc", "metrics", "health")]
    flags += [f"--model={folder}", f"--precision={precision}", f"--run-dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("asr-server")), *flags, "--device=cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    # 139, a segmentation fault, where the model failed in its warm-up instead (docs/triton.md).
    assert done.returncode == 1, done.stdout
    lines = [line for line in done.stdout.splitlines() if "wav2vec2 cannot start: " in line]
    assert len(lines) == 1, done.stdout
    assert lines[0].rpartition("wav2vec2 cannot start: ")[2] == f'{folder}: {reason}"'
