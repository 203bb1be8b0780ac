"""Compiled layers: each clip's own result, and nothing is compiled after the load.

On a CPU, for which `load_engine` refuses to compile: the graphs are a GPU's too.
"""

from __future__ import annotations

import locale
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from asr_backend.acoustic.engine.loading import load_engine, load_model
from asr_backend.acoustic.engine.torch_engine import TorchEngine
from asr_backend.checkpoint.description import load_checkpoint
from tests.support.backend.checkpoints import write_checkpoint
from tests.unit.backend.acoustic.engine.test_engine import clips

BATCHES = (
    [720],
    [320_000],
    [12_345, 400],
    [320_000, 400, 20_000],
    [4_000] * 7,
    [16_000, 9_000, 31_000, 8_000],
)


def compilations() -> int:
    return counters["stats"]["unique_graphs"]


# torch's own, where it compiles.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_nothing_is_compiled_for_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load_checkpoint(write_checkpoint(tmp_path, "base-960h", num_hidden_layers=2))
    before = compilations()
    locale.setlocale(locale.LC_CTYPE, "C")  # as Triton's stub has it
    engine, plain = (
        TorchEngine(
            checkpoint, load_model(checkpoint), device="cpu", precision="fp32", compiled=compiled
        )
        for compiled in (True, False)
    )
    assert engine.name == "fp32 on torch, compiled, cpu"
    assert compilations() - before == 3
    assert locale.nl_langinfo(locale.CODESET) == "UTF-8"
    # The shortest clip alone fits none of the three, and runs uncompiled.
    assert engine.forward(clips([400]))[0].shape[0] == 1
    stance = partial(torch.compiler.set_stance, "fail_on_recompile")
    monkeypatch.setattr(engine, "_compilation", stance)
    with pytest.raises(RuntimeError, match="recompile"):
        engine.forward(clips([400]))
    for lengths in BATCHES:
        windows = clips(lengths)
        for window, output in zip(windows, engine.forward(windows), strict=True):
            (expected,) = plain.forward([window])
            assert output.shape == expected.shape
            assert np.abs(output - expected).max() <= 1e-4 * expected.std()
            assert (output.argmax(-1) == expected.argmax(-1)).all()
    assert compilations() - before == 3


def test_a_cpu_compiles_nothing(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_checkpoint(tmp_path, "base-960h", num_hidden_layers=1))
    with pytest.raises(ValueError, match="for a GPU only"):
        load_engine(checkpoint, device="cpu", precision="fp32", threads=1, compiled=True)
