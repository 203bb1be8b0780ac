"""Groups of a convolution that oneDNN would compute wrongly in bf16 on AMX never reach it.

No CPU without AMX shows the wrong numbers, so these tests look at what is executed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from asr_backend.acoustic.engine import loading
from asr_backend.acoustic.engine.grouped_conv import MIN_GROUP_CHANNELS, widen_narrow_groups
from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.acoustic.engine.openvino_engine import OpenVinoEngine
from asr_backend.acoustic.engine.protocol import Engine
from asr_backend.checkpoint.description import load_checkpoint
from tests.support.backend.checkpoints import write_checkpoint
from tests.unit.backend.acoustic.engine.test_engine import clips

# Width and groups of the positional convolution.
NARROW = {"base-960h": (48, 4), "data2vec-audio-base": (48, 4), "wavlm-base": (96, 24)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("narrow")

    def write(shape: str) -> Path:
        width, groups = NARROW[shape]
        sizes = {"hidden_size": width, "num_conv_pos_embedding_groups": groups}
        return write_checkpoint(root / shape, shape, spread=0.1, num_hidden_layers=1, **sizes)

    return write


def load(folder: Path, precision: str) -> Engine:
    return load_engine(load_checkpoint(folder), device="cpu", precision=precision, threads=1)


class GroupedConvolutions(TorchDispatchMode):
    """Notes each grouped convolution that torch executes: its dtype, and channels of a group."""

    def __init__(self) -> None:
        super().__init__()
        self.executed: list[tuple[torch.dtype, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = (argument.name for argument in func._schema.arguments)
        given = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
        if "conv" in func.name() and given.get("groups", 1) > 1:
            weight, groups = given["weight"], given["groups"]
            self.executed.append((weight.dtype, min(weight.shape[0] // groups, weight.shape[1])))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["bf16", "int8", "fp16", "fp32"])
@pytest.mark.parametrize("shape", NARROW)
def test_torch_is_given_no_narrow_group_but_in_fp32(
    folder: Callable[[str], Path],
    shape: str,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "has_openvino", lambda: False)
    engine = load(folder(shape), precision)
    with GroupedConvolutions() as seen:
        engine.forward(clips([8_000, 4_000]))
    assert seen.executed
    width, groups = NARROW[shape]
    for dtype, channels in seen.executed:
        if precision == "fp32":
            assert (dtype, channels) == (torch.float32, width // groups)
        else:
            assert dtype != torch.float32
            assert channels >= MIN_GROUP_CHANNELS


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_openvino_is_given_no_narrow_group(folder: Callable[[str], Path], precision: str) -> None:
    engine = load(folder("base-960h"), precision)
    assert isinstance(engine, OpenVinoEngine)
    compiled = engine._request.get_compiled_model()
    weights = [
        list(layer.get_input_shape(1))
        for layer in compiled.get_runtime_model().get_ordered_ops()
        if layer.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    # Groups, outputs and inputs of a group, width of the kernel.
    assert [shape for shape in weights if len(shape) == 4] == [[2, 24, 24, 128]]


def convolution(width: int, groups: int, outputs: int | None = None) -> torch.nn.Conv1d:
    torch.manual_seed(0)
    return torch.nn.Conv1d(width, outputs or width, 8, padding=4, groups=groups)


@pytest.mark.parametrize(
    ("width", "outputs", "groups", "left"),
    [
        (192, 192, 16, 8),  # 12 channels
        (48, 48, 4, 2),
        (96, 96, 24, 6),  # 4 channels
        (30, 30, 3, 1),  # 10 channels, and no other divisor
        (35, 70, 5, 1),  # 7 channels give 14
        (8, 8, 8, 1),  # fewer than 16 in all: no groups any more
    ],
)
def test_joined_groups_compute_the_same(width: int, outputs: int, groups: int, left: int) -> None:
    conv = convolution(width, groups, outputs)
    inputs = torch.randn(2, width, 50)
    with torch.inference_mode():
        expected = conv(inputs)
        widen_narrow_groups(conv)
        assert conv.groups == left
        torch.testing.assert_close(conv(inputs), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("width", "groups"), [(768, 16), (1024, 16), (160, 8), (144, 8), (64, 1)])
def test_wide_groups_stay_as_they_are(width: int, groups: int) -> None:
    """The published checkpoints have 48 or 64 channels a group, and must not become slower."""
    conv = convolution(width, groups)
    weight = conv.weight
    widen_narrow_groups(conv)
    assert conv.groups == groups
    assert conv.weight is weight
