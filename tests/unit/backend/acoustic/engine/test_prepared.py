"""A prepared network gives the bits of a fresh one, starts without torch, and is never trusted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from asr_backend.acoustic.engine import preparing
from asr_backend.acoustic.engine.clip_norm import ClipNorm
from asr_backend.acoustic.engine.first_norm import FirstNorm
from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.acoustic.engine.openvino_graph import _clip_norm
from asr_backend.acoustic.engine.prepared import FILES, load_network
from asr_backend.acoustic.instance import instance_engine
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.checkpoint.prepared import BrokenEntryError, read_entry
from tests.support.backend.checkpoints import write_checkpoint
from tests.support.backend.doubles import PbUtils
from tests.unit.backend.acoustic.engine.test_engine import LENGTHS, clips

KEY = "0123"


def prepared(root: Path, checkpoint: Path, precision: str) -> preparing.Answer:
    """Prepare a checkpoint as the folder `KEY` under `root`."""
    folder = root / KEY
    folder.mkdir()
    return preparing.prepare(
        preparing.Request(
            checkpoint=str(checkpoint),
            blank_id=0,
            precision=precision,
            threads=1,
            folder=str(folder),
            key=KEY,
        )
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "c", "base-960h")


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("shape", ["base-960h", "large-960h-lv60-self", "unispeech-sat"])
def test_results_are_those_of_the_checkpoint_bit_for_bit(
    tmp_path: Path, shape: str, precision: str
) -> None:
    # Wide enough for OpenVINO's faster kernels.
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_conv_pos_embedding_groups": 4}
    folder = write_checkpoint(tmp_path / "c", shape, spread=0.1, **sizes)
    assert prepared(tmp_path, folder, precision).precision == precision
    checkpoint = load_checkpoint(folder)
    kept = load_network(tmp_path / KEY, checkpoint, threads=1)
    fresh = load_engine(checkpoint, device="cpu", precision=precision, threads=1)
    assert kept.name == fresh.name == f"{precision} on OpenVINO, cpu"
    windows = clips(LENGTHS)
    for mine, expected in zip(kept.forward(windows), fresh.forward(windows), strict=True):
        assert (mine == expected).all()


WITHOUT_TORCH = """
import json, sys
from pathlib import Path
from asr_backend.acoustic import model
from asr_backend.acoustic.instance import instance_engine
engine, kind = instance_engine({}, json.loads(sys.argv[1]), None)
print(engine.name, kind, sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_a_process_starts_without_torch(tmp_path: Path, tiny: Path) -> None:
    prepared(tmp_path, tiny, "bf16")
    parameters = {"model": str(tiny), "prepared": str(tmp_path / KEY), "threads": "1"}
    command = [sys.executable, "-c", WITHOUT_TORCH, json.dumps(parameters)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "bf16 on OpenVINO, cpu cpu []\n"


def damaged(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", [*FILES, "entry.json"])
def test_a_damaged_file_is_found_and_the_checkpoint_loaded(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    prepared(tmp_path, tiny, "int8")
    damaged(tmp_path / KEY, name)
    with pytest.raises(BrokenEntryError):
        load_network(tmp_path / KEY, load_checkpoint(tiny), threads=1)
    pb_utils = PbUtils()
    parameters = {"model": str(tiny), "prepared": str(tmp_path / KEY), "threads": "1"}
    parameters |= {"device": "cpu", "precision": "int8", "compile": "0", "instances": "1"}
    args = {"model_instance_kind": "CPU", "model_instance_device_id": "0"}
    engine, kind = instance_engine(args, parameters, pb_utils)
    assert (engine.name, kind) == ("int8 on OpenVINO, cpu", "cpu")


def test_an_entry_under_another_name_is_not_used(tmp_path: Path, tiny: Path) -> None:
    prepared(tmp_path, tiny, "int8")
    moved = (tmp_path / KEY).rename(tmp_path / "4567")
    with pytest.raises(BrokenEntryError, match=f"is of {KEY}"):
        load_network(moved, load_checkpoint(tiny), threads=1)


def test_arithmetic_that_has_become_wrong_does_not_serve(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, tiny, "bf16")
    scale = ClipNorm.scale_and_shift
    monkeypatch.setattr(
        ClipNorm, "scale_and_shift", lambda self, samples: scale(self, samples)[::-1]
    )
    with pytest.raises(BrokenEntryError, match=r"bf16 on OpenVINO, cpu is .* off fp32"):
        load_network(tmp_path / KEY, load_checkpoint(tiny), threads=1)


def test_auto_measures_what_is_accurate_enough(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "asr_backend.acoustic.precision.cpu_candidates", lambda: ("fp32", "bf16", "int8")
    )
    answer = prepared(tmp_path, tiny, "auto")
    assert answer.precision in ("fp32", "bf16", "int8")
    assert answer.measured.startswith("measured for 1")
    entry = read_entry(tmp_path / KEY)
    assert (entry.precision, entry.measured) == (answer.precision, answer.measured)
    assert set(entry.files) == (set() if answer.precision == "fp32" else set(FILES))


def test_auto_leaves_out_what_is_too_inexact(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "asr_backend.acoustic.precision.cpu_candidates", lambda: ("fp32", "bf16", "int8")
    )
    limits = {"bf16": 0.0, "int8": 0.0}
    monkeypatch.setattr("asr_backend.acoustic.engine.probe.TOLERANCES", limits)
    answer = prepared(tmp_path, tiny, "auto")
    assert answer.precision == "fp32"
    assert [note.partition(": ")[2].split(" ")[0] for note in answer.notes] == ["int8", "bf16"]
    assert read_entry(tmp_path / KEY).files == {}
    (tmp_path / "named").mkdir()
    with pytest.raises(
        CheckpointError,
        match=r"int8 on OpenVINO, cpu is .*, the limit is 0; start with --precision bf16",
    ):
        prepared(tmp_path / "named", tiny, "int8")


def test_a_network_that_runs_on_torch_is_measured_too(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "wavlm-base", num_hidden_layers=1)
    answer = prepared(tmp_path, folder, "auto")
    assert answer.measured
    assert read_entry(tmp_path / KEY).files == {}


def test_the_command_answers_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_checkpoint(tmp_path / "c", "base-960h", num_hidden_layers=1)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    request = {"checkpoint": str(folder), "blank_id": 0, "precision": "auto", "threads": 1}
    assert preparing.main([json.dumps({**request, "folder": "", "key": ""})]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["precision"] == ""
    assert "NaN or infinite" in answer["refused"]


@pytest.mark.parametrize("length", [10, 399, 16_001])
@pytest.mark.parametrize("bias", [False, True])
def test_the_norm_of_a_clip_is_that_of_torch(length: int, bias: bool) -> None:
    torch.manual_seed(length)
    conv = torch.nn.Conv1d(1, 6, 10, stride=5, bias=bias)
    norm = torch.nn.GroupNorm(6, 6)
    torch.nn.init.uniform_(norm.weight, 0.5, 2)
    torch.nn.init.uniform_(norm.bias)
    samples = torch.randn(length) + 3
    with torch.no_grad():
        scale, shift = _clip_norm(conv, norm).scale_and_shift(samples.numpy())
        mean, expected = FirstNorm(conv, norm).mean_and_scale(samples[None])
    assert scale.shape == shift.shape == (1, 6, 1)
    assert scale.dtype == shift.dtype == np.float32
    np.testing.assert_allclose(scale[0, :, 0], expected[0].numpy(), rtol=1e-6)
    wanted = norm.bias.detach().double() - mean[0] * expected[0]
    np.testing.assert_allclose(shift[0, :, 0], wanted.numpy(), rtol=1e-5, atol=1e-6)
