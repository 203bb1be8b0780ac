"""Peers on a tritonserver: a model `transcribe` with one input `audio` and one output `text`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.systems.peer import CALL_TIMEOUT_S, Peer

MODEL = "transcribe"


class TritonPeer(Peer):
    """See Peer. Calls go over gRPC, through tritonclient."""

    def is_ready(self) -> bool:
        """See Peer."""
        from tritonclient.utils import InferenceServerException

        try:
            return bool(_client(self.port).is_model_ready(MODEL))
        except InferenceServerException:
            return False

    def send(self, wav: bytes) -> str:
        """See Peer."""
        from tritonclient.grpc import InferInput

        audio = InferInput("audio", [1, 1], "BYTES")
        audio.set_data_from_numpy(np.array([[wav]], dtype=object))
        result = _client(self.port).infer(MODEL, [audio], client_timeout=CALL_TIMEOUT_S)
        return str(result.as_numpy("text")[0, 0].decode())

    def environment(self, python: Path, checkpoint: Path) -> Mapping[str, str]:
        """See Peer. Adds the folders of the libraries that the wheel's tritonserver needs."""
        from asr_backend.server.prepare import tritonserver

        own = super().environment(python, checkpoint)
        folders = tritonserver.environment(tritonserver.find(""), own)["LD_LIBRARY_PATH"]
        return {**own, "LD_LIBRARY_PATH": folders}


@cache
def _client(port: int) -> Any:
    from tritonclient.grpc import InferenceServerClient

    return InferenceServerClient(f"127.0.0.1:{port}")
