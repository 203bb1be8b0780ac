"""bf16 and int8: near fp32, and each clip the same in any batch, with either library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asr_backend.acoustic.engine import loading, openvino_engine
from asr_backend.acoustic.engine.int8_linear import Int8Linear
from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.acoustic.engine.openvino_engine import bucket
from asr_backend.acoustic.engine.protocol import Engine
from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from asr_backend.ctc.greedy import GreedyDecoder
from tests.support import recordings
from tests.support.backend.checkpoints import SHAPES, write_checkpoint
from tests.unit.backend.acoustic.engine.test_engine import LENGTHS, LONGEST, SHORTEST, clips
from tools.word_errors import word_error_rate

ON_OPENVINO = {"base-960h", "large-960h-lv60-self", "hubert-base", "hubert-large"}
ON_OPENVINO |= {"unispeech", "unispeech-sat"}

FROM_FP32 = {"bf16": 0.25, "int8": 0.25, "fp16": 0.05}
"""Largest difference from fp32's log-probabilities, in their standard deviations."""
FROM_ALONE = 0.05
"""Largest difference of a clip in a batch from the same clip alone, in the same."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    # More of it, and the convolutions of this shape overflow fp16.
    spread = {"distilhubert": 0.2}
    return {
        shape: write_checkpoint(root / shape, shape, spread=spread.get(shape, 0.3))
        for shape in SHAPES
    }


def load(folder: Path, precision: str) -> Engine:
    return load_engine(load_checkpoint(folder), device="cpu", precision=precision, threads=1)


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "has_openvino", lambda: False)


def deviations(outputs: list[np.ndarray], expected: list[np.ndarray]) -> list[float]:
    return [
        float(np.abs(output - wanted).max() / wanted.std())
        for output, wanted in zip(outputs, expected, strict=True)
    ]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_on_openvino_where_it_knows_the_network(
    folders: dict[str, Path], shape: str, precision: str
) -> None:
    windows = clips(LENGTHS[:5])
    engine = load(folders[shape], precision)
    library = "OpenVINO" if shape in ON_OPENVINO else "torch"
    assert engine.name == f"{precision} on {library}, cpu"
    outputs = engine.forward(windows)
    expected = load(folders[shape], "fp32").forward(windows)
    assert max(deviations(outputs, expected)) < FROM_FP32[precision]
    if library == "OpenVINO":
        for window, output in zip(windows, outputs, strict=True):
            assert (engine.forward([window])[0] == output).all()


@pytest.mark.usefixtures("without_openvino")
@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_the_last_layer_and_the_softmax_run_in_fp32(
    folders: dict[str, Path], precision: str
) -> None:
    engine = load(folders["base-960h"], precision)
    seen: list[torch.Tensor] = []
    head = engine._model.lm_head  # type: ignore[attr-defined]
    head.register_forward_hook(lambda module, inputs, output: seen.extend((*inputs, output)))
    (output,) = engine.forward(clips([9_600]))
    hidden, logits = seen
    assert hidden.dtype == logits.dtype == head.weight.dtype == torch.float32
    exact = (hidden.double() @ head.weight.double().T + head.bias.double()).log_softmax(-1)
    assert np.abs(output - exact[0].detach().numpy()).max() < 1e-5


@given(frames=st.integers(1, 30_000))
def test_a_clip_is_padded_a_little(frames: int) -> None:
    padded = bucket(frames)
    assert frames <= padded <= frames + max(7, frames / 16)
    assert bucket(padded) == padded


@pytest.mark.parametrize("length", [400, 719, 1_600, 16_000, 100_001])
def test_the_padding_that_is_counted_is_what_the_network_is_given(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    engine = load(folders["base-960h"], "bf16")
    assert isinstance(engine, openvino_engine.OpenVinoEngine)
    given = []
    request = engine._request

    class Listening:
        get_output_tensor = request.get_output_tensor

        def infer(self, inputs: list[np.ndarray], **more: bool) -> None:
            given.append(inputs[0].size)
            request.infer(inputs, **more)

    monkeypatch.setattr(engine, "_request", Listening())
    engine.forward(clips([length, length]))
    # The samples behind a last frame go no further than into a norm, and count as audio.
    assert engine.computed_samples([length, length]) == sum(max(length, each) for each in given)
    assert load(folders["base-960h"], "fp32").computed_samples([length, 400]) == 2 * length


def test_few_lengths_are_enough() -> None:
    """OpenVINO keeps what it prepared for each length that it has seen."""
    assert len({bucket(frames) for frames in range(1, 1_000)}) < 70


@pytest.mark.parametrize("shape", ["base-960h", "large-960h-lv60-self"])
def test_a_bucket_gives_what_the_very_length_would(
    folders: dict[str, Path], shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = clips((400, 719, 5_000, 12_345, 20_000))
    engine = load(folders[shape], "bf16")
    padded = engine.forward(windows)
    monkeypatch.setattr(openvino_engine, "bucket", lambda frames: frames)
    assert max(deviations(padded, engine.forward(windows))) < FROM_ALONE


@pytest.mark.parametrize("precision", ["bf16", "int8", "fp16"])
@pytest.mark.parametrize(
    "shape",
    ["base-960h", "large-960h-lv60-self", "distilhubert", "wavlm-large", "data2vec-audio-base"],
)
def test_on_torch_in_any_batch(
    folders: dict[str, Path], shape: str, precision: str, without_openvino: None
) -> None:
    windows = clips(LENGTHS[:5])
    engine = load(folders[shape], precision)
    assert engine.name == f"{precision} on torch, cpu"
    together = engine.forward(windows)
    alone = [engine.forward([window])[0] for window in windows]
    assert max(deviations(together, alone)) < FROM_ALONE
    expected = load(folders[shape], "fp32").forward(windows)
    assert max(deviations(together, expected)) < FROM_FP32[precision]


PATHS = ["bf16", "int8", "bf16 on torch", "int8 on torch"]


@pytest.fixture(scope="module", params=PATHS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine of each arithmetic and library, with a group norm."""
    return by_path(write_checkpoint(tmp_path_factory.mktemp("path"), "base-960h"), request.param)


def by_path(folder: Path, name: str) -> Engine:
    precision, _, on_torch = name.partition(" on ")
    with pytest.MonkeyPatch.context() as patch:
        if on_torch:
            patch.setattr(loading, "has_openvino", lambda: False)
        return load(folder, precision)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(
        st.one_of(st.just(SHORTEST), st.integers(SHORTEST, 20_000)), min_size=1, max_size=6
    )
)
@example(lengths=[LONGEST, SHORTEST, 20_000])
def test_any_lengths_in_any_order(path: Engine, lengths: list[int]) -> None:
    windows = clips(lengths)
    together = path.forward(windows)
    alone = [path.forward([window])[0] for window in windows]
    limit = 0.0 if path.max_windows == 1 else FROM_ALONE
    assert max(deviations(together, alone)) <= limit


@pytest.mark.parametrize("name", PATHS)
def test_a_quiet_recording_beside_a_loud_one_keeps_its_transcript(name: str) -> None:
    engine = by_path(demo_checkpoint(), name)
    spoken = [recordings.samples(each) for each in sorted(recordings.texts())]
    windows = [samples * (0.02, 6.0)[place % 2] for place, samples in enumerate(spoken)]
    together = engine.forward(windows)
    assert len(windows) == len(together) > 3
    for window, output in zip(windows, together, strict=True):
        assert transcript(engine, output) == transcript(engine, engine.forward([window])[0]) != ""


def test_a_quiet_frame_keeps_its_digits_beside_a_loud_one() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 32)
    frames = torch.randn(2, 5, 64) * torch.tensor([1.0, 6.0])[:, None, None]
    with torch.inference_mode():
        expected, outputs = linear(frames), Int8Linear(linear)(frames)
        assert (Int8Linear(linear)(frames[:1]) == outputs[:1]).all()
    assert outputs.dtype == torch.float32
    assert ((outputs - expected).abs().amax((1, 2)) < 0.03 * expected.std((1, 2))).all()
    # What one scale for both would have cost the quiet one.
    step = frames.abs().max() / 127
    coarse = linear(torch.round(frames / step) * step)
    assert (coarse - expected)[0].abs().max() > 0.03 * expected[0].std()


@pytest.fixture(scope="module")
def spoken() -> list[tuple[str, np.ndarray]]:
    """Words and samples: each recording in eight noises, 16 to 44 dB below it."""
    random = np.random.default_rng(0)
    clips = []
    for name, text in sorted(recordings.texts().items()):
        samples = recordings.samples(name)
        for level_db in range(16, 48, 4):
            noise = random.standard_normal(samples.size) * samples.std() * 10 ** (-level_db / 20)
            clips.append((text.lower(), (samples + noise).astype(np.float32)))
    return clips


def transcript(engine: Engine, log_probs: np.ndarray) -> str:
    decoder = GreedyDecoder(engine.checkpoint)
    decoder.push(log_probs)
    return decoder.finish(60).text.lower()


def error_rate(engine: Engine, spoken: list[tuple[str, np.ndarray]]) -> float:
    pairs = []
    for said, samples in spoken:
        pairs.append((said, transcript(engine, engine.forward([samples])[0])))
    return word_error_rate(pairs)


@pytest.mark.parametrize("precision", ["bf16", "int8", "bf16 on torch", "int8 on torch"])
def test_the_demo_hears_as_well_as_in_fp32(
    spoken: list[tuple[str, np.ndarray]], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision.endswith("torch"):
        monkeypatch.setattr(loading, "has_openvino", lambda: False)
    exact, engine = (load(demo_checkpoint(), each) for each in ("fp32", precision.split()[0]))
    assert abs(error_rate(engine, spoken) - error_rate(exact, spoken)) <= 0.02


def test_openvino_does_not_report_its_use() -> None:
    """Its package for that is a dependency of it, and would be called on import."""
    script = (
        "import sys, asr_backend.acoustic.engine.openvino_engine\n"
        "print(sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["None"]
