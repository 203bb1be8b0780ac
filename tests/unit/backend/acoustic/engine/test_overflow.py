"""Windows that overflow fp16 get fp32's result, and leave the others and the weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.acoustic.engine.torch_engine import TorchEngine
from asr_backend.checkpoint.description import load_checkpoint
from tests.support.backend.checkpoints import write_checkpoint, write_language_checkpoint
from tests.unit.backend.acoustic.engine.test_engine import clips


def load(folder: Path, precision: str) -> TorchEngine:
    engine = load_engine(load_checkpoint(folder), device="cpu", precision=precision, threads=1)
    assert isinstance(engine, TorchEngine)
    return engine


def off(outputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    return max(
        float(np.abs(output - wanted).max() / wanted.std())
        for output, wanted in zip(outputs, expected, strict=True)
    )


# With a group norm, with a layer norm; batch norms have buffers besides.
@pytest.mark.parametrize("shape", ["base-960h", "large-960h-lv60-self"])
def test_a_window_that_overflows_fp16_gets_fp32_s_result(tmp_path: Path, shape: str) -> None:
    folder = write_checkpoint(tmp_path / "raw", shape, do_normalize=False)
    engine, exact = load(folder, "fp16"), load(folder, "fp32")
    quiet, loud, other = clips([4_000, 9_000, 9_000])
    loud *= 1e7
    alone = engine.forward([quiet, other, other])
    before = {name: tensor.clone() for name, tensor in engine._model.state_dict().items()}
    assert engine.overflows == 0
    outputs = engine.forward([quiet, loud, other])
    assert engine.overflows == 1
    assert all(np.isfinite(output).all() for output in outputs)
    assert off(outputs, exact.forward([quiet, loud, other])) < 0.05
    # The neighbours, and what comes after, are computed as ever.
    assert (outputs[0] == alone[0]).all()
    assert (outputs[2] == alone[2]).all()
    assert off(engine.forward([quiet, other, other]), alone) == 0
    for name, tensor in engine._model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_languages_are_exchanged_after_an_overflow_as_before(tmp_path: Path) -> None:
    folder = write_language_checkpoint(tmp_path / "mms", do_normalize=False, num_hidden_layers=1)
    engine, exact = load(folder, "fp16"), load(folder, "fp32")
    window = clips([4_000])[0]
    for language, loudness in (("deu", 1e7), ("eng", 1e7), ("deu", 1.0), ("eng", 1.0)):
        for each in (engine, exact):
            each.use_language(language)
        scaled = [window * np.float32(loudness)]
        assert off(engine.forward(scaled), exact.forward(scaled)) < 0.05
    assert engine.overflows == 2


def test_what_overflows_fp32_as_well_is_left_to_the_caller_of_the_engine(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "raw", "base-960h", do_normalize=False)
    engine = load(folder, "fp16")
    window = clips([2_000])[0]
    full = window / np.abs(window).max() * np.finfo(np.float32).max
    loud, plain = engine.forward([full, window])
    assert not np.isfinite(loud).all()
    assert np.isfinite(plain).all()


def test_weights_come_back_where_memory_ends_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(write_checkpoint(tmp_path / "raw", "base-960h", do_normalize=False), "fp16")
    plain = clips([2_000])
    before = engine.forward(plain)
    casts = 0
    to = torch.Tensor.to

    def full(tensor: torch.Tensor, *arguments: object, **settings: object) -> torch.Tensor:
        nonlocal casts
        casts += arguments == (torch.float32,)
        if casts == 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return to(tensor, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", full)
        with pytest.raises(MemoryError):
            engine.forward([plain[0] * np.float32(1e7)])
    assert casts == 9
    assert off(engine.forward(plain), before) == 0
