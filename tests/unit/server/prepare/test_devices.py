"""Which GPUs are used, with a stand-in that answers for torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from asr_backend.acoustic.engine import gpus
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import devices
from asr_backend.server.prepare.devices import Gpus, find_gpus, resolved_precision


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Sets the program that answers in torch's place; returns the file that says it was asked."""
    asked = tmp_path / "asked"

    def set_program(program: str) -> Path:
        full = f"from pathlib import Path\nPath({str(asked)!r}).touch()\n{program}"
        monkeypatch.setattr(devices, "_PROBE", (sys.executable, "-c", full))
        return asked

    return set_program


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_SIGNS", (str(tmp_path),))


def says(found: list[tuple[int, str]], said: str = "", precisions: str = "bf16 bf16") -> str:
    found = [(*gpu, precision) for gpu, precision in zip(found, precisions.split(), strict=False)]
    return f"print('a line before')\nprint({json.dumps({'gpus': found, 'said': said})!r})"


@pytest.mark.usefixtures("sign")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_all_that_torch_can_use_are_taken(answers, device):
    answers(says([(0, "H200"), (1, "H200")]))
    found = find_gpus(device, {})
    assert found == Gpus(indices=(0, 1), names=("H200", "H200"), precision="bf16")


@pytest.mark.usefixtures("sign")
@pytest.mark.parametrize(
    ("precisions", "shared"),
    [("bf16 fp16", "fp16"), ("fp16 bf16", "fp16"), ("bf16 fp32", "fp32")],
)
def test_gpus_of_several_generations_compute_alike(answers, precisions, shared):
    answers(says([(0, "A100"), (1, "V100")], precisions=precisions))
    gpus = find_gpus("auto", {})
    assert resolved_precision("auto", gpus) == shared
    assert resolved_precision("fp32", gpus) == "fp32"


def test_without_a_sign_torch_is_not_asked(answers, monkeypatch):
    monkeypatch.setattr(devices, "_SIGNS", ("/none",))
    asked = answers(says([(0, "H200")]))
    assert find_gpus("auto", {"PATH": "/none"}) == Gpus()
    assert not asked.exists()
    # The driver's program is a sign, and a caller who asks for a GPU gets torch's reason.
    assert find_gpus("cuda", {"PATH": "/none"}).indices == (0,)


def test_the_driver_s_program_is_a_sign(answers, monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_SIGNS", ("/none",))
    (tmp_path / "nvidia-smi").touch(0o755)
    answers(says([(0, "H200")]))
    assert find_gpus("auto", {"PATH": str(tmp_path)}).indices == (0,)


@pytest.mark.usefixtures("sign")
@pytest.mark.parametrize("hidden", ["", "-1", " "])
def test_hidden_gpus_are_not_asked_for(answers, hidden):
    asked = answers(says([(0, "H200")]))
    assert find_gpus("cpu", {}) == Gpus()
    assert find_gpus("auto", {"CUDA_VISIBLE_DEVICES": hidden}) == Gpus()
    assert not asked.exists()


@pytest.mark.usefixtures("sign")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        (says([], "Torch not compiled with CUDA enabled"), "Torch not compiled with CUDA enabled"),
        (says([], ""), "it finds no GPU"),
        (
            "import sys; sys.exit('a\\nlibcudart.so.12: cannot open')",
            "libcudart.so.12: cannot open",
        ),
        ("import os; os.kill(os.getpid(), 11)", "exit status -11"),
        ("print('nothing of the kind')", "exit status 0"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
    ],
)
def test_the_reason_of_a_torch_that_can_use_none_is_reported(answers, monkeypatch, program, words):
    if "sleep" in program:
        monkeypatch.setattr(devices, "_PROBE_TIMEOUT_S", 0.5)
    answers(program)
    with pytest.raises(StartError) as caught:
        find_gpus("cuda", {})
    assert str(caught.value) == f"--device cuda: torch can use no GPU here: {words}"
    found = find_gpus("auto", {})
    assert found.indices == ()
    assert f"torch can use none ({words}); wav2vec2 runs on the CPU" in found.note


@pytest.mark.usefixtures("sign")
def test_a_gpu_that_is_left_out_is_named(answers):
    answers(says([(1, "H200")], "GPU 0: out of memory"))
    found = find_gpus("auto", {})
    assert found.indices == (1,)
    assert found.note == "left out: GPU 0: out of memory"


@pytest.mark.usefixtures("sign")
def test_a_process_sees_one_mig_instance(answers):
    answers(says([(0, "H200 MIG 1g.18gb")]))
    env = {"CUDA_VISIBLE_DEVICES": "MIG-1111, MIG-2222"}
    found = find_gpus("auto", env)
    assert found.indices == (0,)
    assert found.note.startswith("CUDA_VISIBLE_DEVICES names 2 devices, of which torch can use 1")
    assert "start an asr-server for each" in found.note
    assert find_gpus("auto", {"CUDA_VISIBLE_DEVICES": "MIG-1111"}).note == ""
    # CUDA stops at the first that is none.
    assert find_gpus("auto", {"CUDA_VISIBLE_DEVICES": "0,-1,1"}).note == ""


def test_each_gpu_is_used_for_a_moment(monkeypatch):
    """A count and a name are no promise: another process may own it, or torch lack its code."""

    def ones(size: int, *, device: str) -> torch.Tensor:
        if device == "cuda:1":
            raise RuntimeError("CUDA error: no kernel image is available\nmore lines")
        return torch.zeros(size)

    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"number {index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8 - index // 2, 0))
    monkeypatch.setattr(torch, "ones", ones)
    assert gpus.report() == {
        "gpus": [[0, "number 0", "bf16"], [2, "number 2", "fp16"]],
        "said": "GPU 1: CUDA error: no kernel image is available",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="is of machines without a GPU")
def test_torch_says_why_there_is_none():
    found = gpus.report()
    assert found["gpus"] == []
    assert found["said"]
