from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCTC, Wav2Vec2FeatureExtractor

from asr_backend.acoustic.engine import loading
from asr_backend.acoustic.engine.device_lost import DeviceLost
from asr_backend.acoustic.engine.loading import (
    choose_device,
    choose_precision,
    limit_gpu_memory,
    load_engine,
)
from asr_backend.acoustic.engine.protocol import Engine
from asr_backend.acoustic.precision import cpu_precision
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from tests.support.backend.checkpoints import SHAPES, write_checkpoint

# The shortest legal clip, lengths on both sides of a frame's edge, and unlike ones up to 2.5 s.
LENGTHS = (9_600, 400, 40_000, 719, 720, 721, 16_000, 4_321, 25_000, 401, 39_999, 12_345)
LENGTHS += (1_600, 33_333, 8_000, 20_000)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {shape: write_checkpoint(root / shape, shape) for shape in SHAPES}


def load(folder: Path, *, device: str = "cpu", precision: str = "fp32") -> Engine:
    return load_engine(load_checkpoint(folder), device=device, precision=precision, threads=1)


def clips(lengths: Sequence[int]) -> list[np.ndarray]:
    """Coloured noise off centre, each clip at a loudness of its own."""
    random = np.random.default_rng(len(lengths))
    made = []
    for length in lengths:
        noise = np.convolve(random.standard_normal(length), [0.5, 0.3, 0.2], mode="same")
        made.append((random.uniform(0.01, 0.5) * noise + 0.02).astype(np.float32))
    return made


class Reference:
    """Hugging Face's own feature extractor and model, one unpadded clip at a time."""

    def __init__(self, folder: Path) -> None:
        self.extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
        self.model = AutoModelForCTC.from_pretrained(folder).eval()

    def logits(self, clip: np.ndarray) -> torch.Tensor:
        values = self.extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            return self.model(values).logits[0]


def assert_same(
    outputs: list[np.ndarray],
    reference: Reference,
    windows: list[np.ndarray],
    *,
    tolerance: float = 1e-4,
) -> None:
    assert len(outputs) == len(windows)
    for output, window in zip(outputs, windows, strict=True):
        logits = reference.logits(window)
        expected = torch.log_softmax(logits, dim=-1).numpy()
        assert output.shape == expected.shape
        assert output.dtype == np.float32
        assert np.abs(output - expected).max() <= tolerance * logits.std().item()
        assert (output.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_sixteen_clips_in_one_forward_equal_each_clip_alone(
    folders: dict[str, Path], shape: str
) -> None:
    windows = clips(LENGTHS)
    assert_same(load(folders[shape]).forward(windows), Reference(folders[shape]), windows)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gpu_gives_what_the_cpu_gives(folders: dict[str, Path], shape: str) -> None:
    windows = clips(LENGTHS)
    outputs = load(folders[shape], device="cuda").forward(windows)
    assert_same(outputs, Reference(folders[shape]), windows, tolerance=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_that_is_full_is_a_memory_error(folders: dict[str, Path]) -> None:
    engine = load(folders["base-960h"], device="cuda")
    try:
        torch.cuda.set_per_process_memory_fraction(1e-4, "cuda:0")
        with pytest.raises(MemoryError):
            engine.forward([clips([400])[0].repeat(80_000)])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, "cuda:0")
    assert engine.forward(clips([400]))[0].shape == (1, 32)


@pytest.mark.parametrize("shape", ["base-960h", "wavlm-base", "data2vec-audio-base"])
def test_equal_lengths_and_forwards_in_turn(folders: dict[str, Path], shape: str) -> None:
    """A forward without padding leaves nothing behind for the next, and the other way round."""
    engine, reference = load(folders[shape]), Reference(folders[shape])
    for lengths in ([8_000, 8_000], [4_000, 9_000], [9_000], [9_000, 4_000], [8_100, 8_000]):
        windows = clips(lengths)
        assert_same(engine.forward(windows), reference, windows)


FAMILIES = ("base-960h", "large-960h-lv60-self", "hubert-base", "wavlm-base", "data2vec-audio-base")
SHORTEST, LONGEST = 400, 20 * 16_000


@pytest.fixture(scope="module", params=[*FAMILIES, "base-960h raw", "large-960h-lv60-self raw"])
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Engine, Reference]:
    """An engine and its reference; `raw` is without the feature extractor's normalisation."""
    shape, _, raw = request.param.partition(" ")
    folder = write_checkpoint(tmp_path_factory.mktemp("family"), shape, do_normalize=not raw)
    return load(folder), Reference(folder)


@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(
        st.one_of(st.just(SHORTEST), st.integers(SHORTEST, 20_000)), min_size=1, max_size=6
    )
)
@example(lengths=[LONGEST, SHORTEST, 20_000])
def test_any_lengths_in_any_order(family: tuple[Engine, Reference], lengths: list[int]) -> None:
    windows = clips(lengths)
    assert_same(family[0].forward(windows), family[1], windows)


@pytest.mark.parametrize("shape", ["base-960h", "large-960h-lv60-self"])
def test_the_published_widths_with_fewer_layers(tmp_path: Path, shape: str) -> None:
    width, heads = (1024, 16) if shape.startswith("large") else (768, 12)
    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width}
    sizes |= {"num_hidden_layers": 2, "num_conv_pos_embedding_groups": 16}
    folder = write_checkpoint(tmp_path, shape, spread=0.02, conv_dim=(512,) * 7, **sizes)
    windows = clips([9_600, SHORTEST, 25_000])
    assert_same(load(folder).forward(windows), Reference(folder), windows)


def test_the_plain_model_would_fail_here(folders: dict[str, Path]) -> None:
    """The checkpoints and clips of these tests do tell right from wrong."""
    windows = clips(LENGTHS[:4])
    for shape in ("base-960h", "data2vec-audio-base", "distilhubert"):
        reference = Reference(folders[shape])
        inputs = reference.extractor(
            windows,
            sampling_rate=16_000,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            padded = reference.model(**inputs).logits[0]
        alone = reference.logits(windows[0])
        assert (padded[: len(alone)] - alone).abs().max() > 0.01 * alone.std()


def test_attention_is_fused_and_the_weight_norm_folded(folders: dict[str, Path]) -> None:
    model = load(folders["base-960h"])._model  # type: ignore[attr-defined]
    assert model.config._attn_implementation == "sdpa"
    assert not torch.nn.utils.parametrize.is_parametrized(
        model.base_model.encoder.pos_conv_embed.conv
    )


def test_the_attention_of_wavlm_is_called_as_older_and_newer_transformers_do(
    folders: dict[str, Path],
) -> None:
    """Before 5.16 the layer hands over `output_attentions`, too."""
    model = load(folders["wavlm-base"])._model  # type: ignore[attr-defined]
    attention = model.base_model.encoder.layers[0].attention
    hidden, bias = torch.randn(2, 5, 48), torch.randn(2 * 4, 5, 5)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with torch.no_grad():
        older, _ = attention.torch_multi_head_self_attention(hidden, mask, bias, False)
        newer, _ = attention.torch_multi_head_self_attention(hidden, mask, bias)
    assert torch.equal(older, newer)


def test_samples_that_overflow_a_float32_variance(folders: dict[str, Path]) -> None:
    window = clips([2_000])[0]
    engine = load(folders["base-960h"])
    loud, plain = engine.forward([window * 1e35]) + engine.forward([window * 1e3])
    assert np.isfinite(loud).all()
    assert np.abs(loud - plain).max() < 1e-3


def test_half_precision_weights_run_in_fp32(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "base-960h")
    AutoModelForCTC.from_pretrained(folder).half().save_pretrained(folder)
    assert load(folder).forward(clips([500]))[0].dtype == np.float32


def test_weights_in_shards(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "base-960h")
    before = load(folder).forward(clips([900]))[0]
    (folder / "model.safetensors").unlink()
    reloaded = AutoModelForCTC.from_pretrained(folders["base-960h"])
    reloaded.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert (load(folder).forward(clips([900]))[0] == before).all()


def test_weight_norm_under_its_older_names(tmp_path: Path) -> None:
    """The published base-960h still names the weight norm's parts weight_g and weight_v."""
    folder = write_checkpoint(tmp_path, "base-960h")
    before = load(folder).forward(clips([900]))[0]
    weights = load_file(folder / "model.safetensors")
    older = {"parametrizations.weight.original0": "weight_g"}
    older["parametrizations.weight.original1"] = "weight_v"
    for new, old in older.items():
        (key,) = [key for key in weights if key.endswith(new)]
        weights[key.replace(new, old)] = weights.pop(key)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert (load(folder).forward(clips([900]))[0] == before).all()


def test_weights_without_the_head_are_refused(tmp_path: Path) -> None:
    """Random numbers would be served otherwise."""
    folder = write_checkpoint(tmp_path, "base-960h")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack 1 tensors of the network, lm_head\.weight"):
        load(folder)


def test_the_embedding_of_masked_spans_may_be_absent(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "base-960h")
    weights = load_file(folder / "model.safetensors")
    weights = {key: value for key, value in weights.items() if "masked_spec_embed" not in key}
    config = json.loads((folder / "config.json").read_text())
    config["mask_time_prob"] = 0.05
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).forward(clips([400]))[0].shape == (1, 32)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, bad: float) -> None:
    folder = write_checkpoint(tmp_path, "base-960h")
    weights = load_file(folder / "model.safetensors")
    name = "wav2vec2.encoder.layers.1.attention.k_proj.weight"
    weights[name][3, 5] = bad
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder}: of the weights {name}, 1 of {48 * 48} are NaN or infinite"
    )


@pytest.mark.parametrize("shape", ["base-960h", "wavlm-base", "data2vec-audio-base"])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_no_checkpoint_names_the_code_of_its_attention(
    tmp_path: Path, shape: str, key: str
) -> None:
    """A name with a slash is a kernel of the Hub, which transformers would run."""
    folder = write_checkpoint(tmp_path, shape)
    before = load(folder).forward(clips([900]))[0]
    config = json.loads((folder / "config.json").read_text())
    config[key] = "somebody/attention"
    (folder / "config.json").write_text(json.dumps(config))
    engine = load(folder)
    expected = "eager" if shape == "wavlm-base" else "sdpa"
    assert engine._model.config._attn_implementation == expected  # type: ignore[attr-defined]
    assert (engine.forward(clips([900]))[0] == before).all()


def test_a_precision_that_is_not_there(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="int4"):
        load(folders["base-960h"], precision="int4")
    with pytest.raises(ValueError, match="for the CPU"):
        choose_precision("int8", device="cuda:0")


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx512_bf16 fsrm", "int8"), ("amx_bf16", "int8"), ("avx2 avx512_vnni", "fp32")],
)
def test_the_precision_of_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, precision: str
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(loading, "cpu_precision", lambda: cpu_precision(cpuinfo))
    assert choose_precision("auto", device="cpu") == precision
    assert choose_precision("bf16", device="cpu") == "bf16"


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")],
)
def test_the_precision_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", device="cuda:0") == precision
    assert choose_precision("fp32", device="cuda:0") == "fp32"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: not enough memory"),
    ],
)
def test_out_of_memory_is_pythons_own_error(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    engine = load(folders["base-960h"])

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(engine, "_run", fail)
    with pytest.raises(MemoryError):
        engine.forward(clips([400]))


ILLEGAL = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."


@pytest.mark.parametrize(
    ("message", "context", "raised"),
    [
        (ILLEGAL, "ended", DeviceLost),
        ("CUDA error: unspecified launch failure", "ended", DeviceLost),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`", "", DeviceLost),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", "", DeviceLost),
        ("CUDA error: invalid configuration argument", "", RuntimeError),
        ("CUDA error: out of memory", "", MemoryError),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", "", MemoryError),
        ("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`", "", MemoryError),
        ("CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`", "ended", DeviceLost),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "", MemoryError),
        ("cuDNN: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "", MemoryError),
        ("GET was unable to find an engine to execute this computation", "", MemoryError),
    ],
)
def test_an_error_that_ends_the_device_s_context_is_told_from_others(
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    message: str,
    context: str,
    raised: type[Exception],
) -> None:
    """torch's words, and a device that answers each later call with the same error, or does not."""
    engine = load(folders["base-960h"])

    def fail(*_: Any) -> None:
        raise RuntimeError(message)

    def synchronize(device: torch.device) -> None:
        assert device == torch.device("cuda:0")
        if context == "ended":
            fail()

    emptied = []
    monkeypatch.setattr(engine, "_device", torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    monkeypatch.setattr(engine, "_run", fail)
    with pytest.raises(raised) as caught:
        engine.forward(clips([400]))
    assert type(caught.value) is raised
    assert str(caught.value) == (message.splitlines()[0] if raised is DeviceLost else message)
    # The libraries allocate beside torch, which keeps what it has freed.
    assert emptied == [True] * (raised is MemoryError)


@pytest.mark.parametrize("lost", [False, True])
def test_pinned_memory_that_is_refused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """It is asked for once, and a lost device is not mistaken for it."""
    engine = load(folders["base-960h"])
    zeros = torch.zeros
    attempts = []

    def refuse(*shape: Any, pin_memory: bool = False) -> torch.Tensor:
        if pin_memory:
            attempts.append(shape)
            raise RuntimeError("CUDA error: OS call failed or operation not supported on this OS")
        return zeros(*shape)

    def synchronize() -> None:
        if lost:
            raise RuntimeError(ILLEGAL)

    monkeypatch.setattr(torch, "zeros", refuse)
    monkeypatch.setattr(engine, "_pins_memory", True)
    monkeypatch.setattr(engine, "_synchronize", synchronize)
    if lost:
        with pytest.raises(DeviceLost):
            engine.forward(clips([400]))
    else:
        for _ in range(2):
            assert engine.forward(clips([400]))[0].shape == (1, 32)
    assert len(attempts) == 1


@pytest.mark.parametrize(
    ("fraction", "instances", "share"), [(0.9, 1, 0.868), (0.9, 2, 0.418), (0.5, 4, 0.093)]
)
def test_a_share_of_a_gpu_leaves_room_for_cudas_context(
    monkeypatch: pytest.MonkeyPatch, fraction: float, instances: int, share: float
) -> None:
    """All processes together stay within the fraction, what torch does not count included."""
    given = []
    gpu = SimpleNamespace(total_memory=24 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *each: given.append(each)
    )
    limit_gpu_memory("cuda:1", fraction, instances=instances)
    ((limit, device),) = given
    assert device == "cuda:1"
    assert limit == pytest.approx(share, abs=1e-3)
    total = instances * (limit * gpu.total_memory + loading.CUDA_CONTEXT_BYTES)
    assert total == pytest.approx(fraction * gpu.total_memory)
    with pytest.raises(ValueError, match=r"0\.9 and 40 instances of 24\.0 GiB on cuda:1 leave"):
        limit_gpu_memory("cuda:1", 0.9, instances=40)


@pytest.mark.parametrize(
    ("setting", "kind", "cuda", "device"),
    [
        ("auto", "CPU", True, "cpu"),
        ("auto", "GPU", True, "cuda:1"),
        ("auto", "GPU", False, "cpu"),
        ("cpu", "GPU", True, "cpu"),
        ("cuda", "GPU", True, "cuda:1"),
    ],
)
def test_the_device_of_an_instance(
    monkeypatch: pytest.MonkeyPatch, setting: str, kind: str, cuda: bool, device: str
) -> None:
    monkeypatch.setattr(loading.torch.cuda, "is_available", lambda: cuda)
    assert choose_device(setting, kind=kind, device_id=1) == device
