"""Calls of a model `transcribe` with one input `audio` and one output `text`, by tritonclient."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

MODEL = "transcribe"


def is_ready(port: int) -> bool:
    """Whether the model answers."""
    from tritonclient.utils import InferenceServerException

    try:
        return bool(_client(port).is_model_ready(MODEL))
    except InferenceServerException:
        return False


def transcribe(port: int, wav: bytes, *, timeout_s: float) -> str:
    """The text of one WAV file."""
    from tritonclient.grpc import InferInput

    audio = InferInput("audio", [1, 1], "BYTES")
    audio.set_data_from_numpy(np.array([[wav]], dtype=object))
    result = _client(port).infer(MODEL, [audio], client_timeout=timeout_s)
    return str(result.as_numpy("text")[0, 0].decode())


def library_path(base: Mapping[str, str]) -> str:
    """LD_LIBRARY_PATH with the folders that the wheel's tritonserver needs."""
    from asr_backend.server.prepare import tritonserver

    return tritonserver.environment(tritonserver.find(""), base)["LD_LIBRARY_PATH"]


@cache
def _client(port: int) -> Any:
    from tritonclient.grpc import InferenceServerClient

    return InferenceServerClient(f"127.0.0.1:{port}")
