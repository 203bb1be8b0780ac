"""Arithmetic that is too far from fp32 does not serve: it is refused, or `auto` gives it up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from asr_backend.acoustic.engine import loading
from asr_backend.acoustic.engine.loading import load_engine, load_model
from asr_backend.acoustic.engine.probe import Probe, speech_like
from asr_backend.acoustic.engine.protocol import Engine
from asr_backend.checkpoint.description import Checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from tests.support.backend.checkpoints import write_checkpoint, write_language_checkpoint


class WrongEngine:
    """The engine beneath it, with log-probabilities that are off by some standard deviations."""

    def __init__(self, engine: Engine, off: float) -> None:
        self._engine = engine
        self._off = off
        self.checkpoint = engine.checkpoint
        self.name = engine.name
        self.max_windows = engine.max_windows
        self.overflows = 0
        self.lengths: list[int] = []

    def forward(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.lengths += [window.size for window in windows]
        outputs = self._engine.forward(windows)
        for output in outputs:
            output[-1, 0] += self._off * output.std()
        return outputs

    def computed_samples(self, lengths: Sequence[int]) -> int:
        return self._engine.computed_samples(lengths)

    def use_language(self, language: str) -> None:
        self._engine.use_language(language)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe") / "tiny"
    return write_checkpoint(folder, "base-960h", num_hidden_layers=1)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Precisions whose engines are wrong, and by how much; a CPU with bf16 for `auto`."""
    off: dict[str, float] = {}
    build = loading._engine

    def engine(checkpoint: Checkpoint, model: Any, *, precision: str, **settings: Any) -> Engine:
        right = build(checkpoint, model, precision=precision, **settings)
        return WrongEngine(right, off[precision]) if precision in off else right

    monkeypatch.setattr(loading, "_engine", engine)
    monkeypatch.setattr(loading, "cpu_precision", lambda: "int8")
    return off


def load(folder: Path, precision: str, lines: list[str] | None = None) -> Engine:
    checkpoint = load_checkpoint(folder)
    log = [].append if lines is None else lines.append
    return load_engine(checkpoint, device="cpu", precision=precision, threads=1, log=log)


@pytest.mark.parametrize(
    ("precision", "limit", "exacter"),
    [("int8", 0.25, "bf16"), ("bf16", 0.25, "fp32"), ("fp16", 0.05, "fp32")],
)
def test_what_was_asked_for_and_is_wrong_is_refused_in_one_line(
    folder: Path, wrong: dict[str, float], precision: str, limit: float, exacter: str
) -> None:
    wrong[precision] = 5.0
    with pytest.raises(CheckpointError) as caught:
        load(folder, precision)
    line = str(caught.value)
    assert line.startswith(f"{folder}: {precision} on ")
    assert "standard deviations off fp32" in line
    assert f"the limit is {limit}; start with --precision {exacter}" in line
    assert "\n" not in line


def test_a_deviation_within_the_tolerance_serves(folder: Path, wrong: dict[str, float]) -> None:
    wrong.update(int8=0.1, bf16=0.1)
    for precision in wrong:
        assert load(folder, precision).name.startswith(precision)


@pytest.mark.parametrize(
    ("bad", "taken"),
    [((), "int8"), (("int8",), "bf16"), (("int8", "bf16"), "fp32")],
)
def test_auto_takes_the_next_more_exact_one_and_says_so(
    folder: Path, wrong: dict[str, float], bad: tuple[str, ...], taken: str
) -> None:
    wrong.update(dict.fromkeys(bad, 1.1))
    lines: list[str] = []
    engine = load(folder, "auto", lines)
    assert engine.name.startswith(taken)
    assert len(lines) == len(bad)
    for precision, line in zip(bad, lines, strict=True):
        assert f"{precision} on OpenVINO, cpu is 1." in line
        assert line.endswith(f"auto takes {loading.MORE_EXACT[precision]}")
    # The one that serves is whole: the model was loaded anew for it.
    exact = load(folder, "fp32")
    window = speech_like(8_000)
    (output,), (expected,) = engine.forward([window]), exact.forward([window])
    assert np.abs(output - expected).max() < 0.25 * expected.std()


def test_batches_are_probed_where_the_engine_makes_them(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    probe = Probe.of_model(checkpoint, load_model(checkpoint))
    engine = WrongEngine(load(folder, "fp32"), 0.0)
    assert probe.deviation(engine) < 1e-4
    assert engine.lengths == [16_000, 9_600]
    engine.max_windows = 1
    assert probe.deviation(engine) < 1e-4
    assert engine.lengths == [16_000, 9_600, 16_000]


def test_a_language_checkpoint_is_probed_in_its_default_language(tmp_path: Path) -> None:
    folder = write_language_checkpoint(tmp_path / "mms", num_hidden_layers=1)
    for precision in ("bf16", "int8", "fp16"):
        assert load(folder, precision).name == f"{precision} on torch, cpu"


def test_a_checkpoint_that_overflows_fp16_is_refused_there(tmp_path: Path) -> None:
    folder = scaled(tmp_path / "loud", 3e3)
    with pytest.raises(
        CheckpointError,
        match=r"fp16 on torch, cpu overflows on a second of .*; start with --precision fp32",
    ):
        load(folder, "fp16")
    assert np.isfinite(load(folder, "bf16").forward([speech_like(8_000)])[0]).all()


def test_a_checkpoint_that_overflows_fp32_is_refused_always(tmp_path: Path) -> None:
    folder = scaled(tmp_path / "louder", 1e38)
    for precision in ("fp32", "bf16"):
        with pytest.raises(CheckpointError, match="output is not finite, even in fp32"):
            load(folder, precision)


def scaled(folder: Path, factor: float) -> Path:
    """A checkpoint with one convolution so many times as loud; a norm later takes it back."""
    write_checkpoint(folder, "base-960h", num_hidden_layers=1)
    weights = load_file(folder / "model.safetensors")
    weights["wav2vec2.feature_extractor.conv_layers.6.conv.weight"] *= factor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_the_sound_is_always_the_same() -> None:
    sound = speech_like(16_000)
    assert sound.dtype == np.float32
    assert (sound == speech_like(16_000)).all()
    assert np.abs(sound).max() == pytest.approx(0.3)
    # Pinned, so that a start today and one next year measure the same.
    assert sound[[1_234, 7_777, 12_321]] == pytest.approx([0.00384, 0.00467, -0.00056], abs=1e-5)
