"""The network on OpenVINO, on a CPU: bf16, or int8 in the linear layers.

The graph (openvino_graph.py) runs one clip a forward: on a CPU a larger batch gains nothing. Each
new length costs OpenVINO time and memory, so a clip is padded with zeros to one of few lengths. The
zeros do not change the result:

* the group norm after the first convolution is a scale and a shift for each channel, computed from
  the clip's samples (clip_norm.py) and passed as inputs;
* the positional convolution gets zeros after the clip's end, as for the clip alone;
* attention is masked there. Everything else looks at one frame, or at the samples of one frame.

This file imports no torch: a process that loads a prepared network (prepared.py) starts without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_backend.acoustic.engine.clip_norm import ClipNorm
from asr_backend.acoustic.engine.openvino_runtime import openvino
from asr_backend.acoustic.features import Emissions, log_softmax, network_input
from asr_backend.checkpoint.description import Checkpoint

GROUP_SIZE = 128
"""Values of a frame that share one scale in int8; divides the width of all published layers."""

_OUTPUT_SENTINEL = np.float32(-1.2345e30)
"""No logit has this value: it marks an output that was not written."""


class OpenVinoEngine:
    """An engine on OpenVINO, one clip a forward, for one thread at a time.

    Args:
        checkpoint: of the model.
        graph: OpenVINO's model, from `build_graph` or read from a file.
        clip_norm: computes the inputs of a graph that has a group norm; None for others.
        precision: `bf16` or `int8`.
        threads: for one operation.
    """

    max_windows: int | None = 1
    # Both precisions have the range of fp32.
    overflows = 0

    def __init__(
        self,
        checkpoint: Checkpoint,
        graph: Any,
        clip_norm: ClipNorm | None,
        *,
        precision: str,
        threads: int,
    ) -> None:
        self.checkpoint = checkpoint
        self.name = f"{precision} on OpenVINO, cpu"
        self._clip_norm = clip_norm
        core = openvino.Core()
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "bf16" if multiplies_bf16(core) else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP_SIZE if precision == "int8" else 0,
                # Several instances would be pinned to the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._request = compiled.create_infer_request()

    def computed_samples(self, lengths: Sequence[int]) -> int:
        """See Engine: each is padded to one of few lengths."""
        return sum(max(length, self._padded_samples(length)) for length in lengths)

    def use_language(self, language: str) -> None:
        """See Engine; `reproduces` refuses what has adapters."""
        raise NotImplementedError("networks with language adapters run on torch")

    def forward(self, windows: Sequence[npt.NDArray[np.float32]]) -> list[Emissions]:
        """See Engine."""
        return [self._run(network_input(window, self.checkpoint)) for window in windows]

    def _run(self, values: npt.NDArray[np.float32]) -> Emissions:
        frames = self.checkpoint.frame_count(values.size)
        padded_frames = bucket(frames)
        padded = self._padded_samples(values.size)
        samples = np.zeros((1, padded), np.float32)
        # Samples after the last frame count only in the norms.
        samples[0, : values.size] = values[:padded]
        valid_frames = np.zeros((1, padded_frames, 1), np.float32)
        valid_frames[:, :frames] = 1
        inputs = [samples, valid_frames]
        if self._clip_norm is not None:
            inputs += self._clip_norm.scale_and_shift(values)
        before = self._request.get_output_tensor(0).data
        before[:, :1, :1] = _OUTPUT_SENTINEL
        self._request.infer(inputs, share_inputs=True)
        logits = self._request.get_output_tensor(0).data
        # Out of memory, OpenVINO may return without an error, with the output of the last clip.
        if logits.shape[1] != padded_frames or logits[0, 0, 0] == _OUTPUT_SENTINEL:
            raise MemoryError(f"OpenVINO gave no output for {frames} frames")
        return log_softmax(logits[0, :frames])

    def _padded_samples(self, length: int) -> int:
        """Length of the network's input; samples after the last frame may be left out."""
        frames = bucket(self.checkpoint.frame_count(length))
        field = self.checkpoint.receptive_field_samples
        return (frames - 1) * self.checkpoint.stride_samples + field


def bucket(frames: int) -> int:
    """Length in frames that a clip is padded to: at most a sixteenth longer, or 7 frames."""
    step = max(8, 1 << max(0, frames.bit_length() - 5))
    return -(-frames // step) * step


def multiplies_bf16(core: Any) -> bool:
    """Whether OpenVINO multiplies bf16 in this CPU's hardware."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
