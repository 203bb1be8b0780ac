"""A network prepared for OpenVINO: the files that `wav2vec2` starts from without torch.

They hold the graph with its weights, the norm that the engine computes itself, and what the network
gives in fp32 for a second of sound, so that each start compares its arithmetic (probe.py). Results
are those of the network that was saved, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_backend.acoustic.engine.clip_norm import ClipNorm
from asr_backend.acoustic.engine.openvino_engine import OpenVinoEngine, multiplies_bf16
from asr_backend.acoustic.engine.openvino_runtime import openvino
from asr_backend.acoustic.engine.openvino_runtime import opset13 as ops
from asr_backend.acoustic.engine.probe import TOLERANCES, Probe
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.prepared import BrokenEntryError, read_entry

_GRAPH, _WEIGHTS, _ARRAYS = "network.xml", "network.bin", "arrays.npz"
FILES = (_GRAPH, _WEIGHTS, _ARRAYS)
"""Names of the files of a prepared network."""

_TO_FP32 = '<data destination_type="f32" />'
# OpenVINO then hands the weights to the matrix product as they are. Without the mark it makes
# weights of 4 bytes of them first, and keeps both.
_KEPT_SMALL = '<rt_info><attribute name="decompression" version="0" /></rt_info>'


def save_network(
    folder: Path, graph: Any, clip_norm: ClipNorm | None, probe: Probe, *, precision: str
) -> None:
    """Write the files of a network.

    Args:
        folder: where to.
        graph: from `build_graph`; its weights become bf16 where it computes in bf16.
        clip_norm: from `build_graph`.
        probe: of the same network.
        precision: of the graph.

    Raises:
        OSError: they cannot be written.
    """
    halved = precision == "bf16" and multiplies_bf16(openvino.Core())
    if halved:
        _halve_weights(graph)
    try:
        openvino.serialize(graph, folder / _GRAPH)
    except RuntimeError as error:
        raise OSError(f"{folder}: OpenVINO cannot write there: {error}") from None
    if halved:
        text = (folder / _GRAPH).read_text()
        (folder / _GRAPH).write_text(text.replace(_TO_FP32, _TO_FP32 + _KEPT_SMALL))
    norm = {f"norm_{name}": value for name, value in vars(clip_norm).items()} if clip_norm else {}
    expected = {f"expected_{index}": each for index, each in enumerate(probe.expected)}
    np.savez(folder / _ARRAYS, **norm, **expected)


def load_network(folder: Path, checkpoint: Checkpoint, *, threads: int) -> OpenVinoEngine:
    """The engine of a prepared network.

    Args:
        folder: an entry of asr-server's cache.
        checkpoint: of which it was made.
        threads: for one operation.

    Raises:
        BrokenEntryError: a file is missing or has changed, or the arithmetic is wrong.
    """
    entry = read_entry(folder)
    if entry.files.keys() != set(FILES) or entry.precision not in ("bf16", "int8"):
        raise BrokenEntryError(f"{folder}: has no network")
    try:
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            norm, expected = _clip_norm(dict(arrays)), _expected(dict(arrays))
        graph = openvino.Core().read_model(folder / _GRAPH)
        engine = OpenVinoEngine(checkpoint, graph, norm, precision=entry.precision, threads=threads)
        deviation = Probe(checkpoint, expected).deviation(engine)
    except (OSError, RuntimeError, LookupError, ValueError) as error:
        raise BrokenEntryError(f"{folder}: {error!r}") from error
    if not deviation <= TOLERANCES[entry.precision]:
        raise BrokenEntryError(f"{folder}: {engine.name} is {deviation:.2f} off fp32")
    return engine


def _halve_weights(graph: Any) -> None:
    """Store the weights of matrix products in bf16, as OpenVINO multiplies them."""
    for product in graph.get_ops():
        if product.get_type_name() != "MatMul":
            continue
        weight = product.input_value(1).get_node()
        if weight.get_type_name() != "Constant":
            continue
        halved = openvino.Tensor(openvino.Type.bf16, list(weight.shape))
        halved.data.view(np.uint16)[...] = _to_bf16(weight.data)
        widened = ops.convert(ops.constant(halved), np.float32)
        product.input(1).replace_source_output(widened.output(0))


def _to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bf16, ties to even; finite values only."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _clip_norm(arrays: dict[str, npt.NDArray[Any]]) -> ClipNorm | None:
    named = {
        name.removeprefix("norm_"): array
        for name, array in arrays.items()
        if name.startswith("norm_")
    }
    if not named:
        return None
    stride, epsilon = int(named.pop("stride")), float(named.pop("epsilon"))
    return ClipNorm(**named, stride=stride, epsilon=epsilon)


def _expected(arrays: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
    count = sum(name.startswith("expected_") for name in arrays)
    return [arrays[f"expected_{index}"] for index in range(count)]
