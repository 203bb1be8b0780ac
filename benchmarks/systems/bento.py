"""BentoML with adaptive batching."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from benchmarks.systems.peer import MAX_BATCH_SIZE, Peer

_BOUNDARY = "3f1c9e5d7b2a4c68"
_SETTINGS = "BENCHMARK_CHECKPOINT", "BENCHMARK_PADDING_LOG"


class Bento(Peer):
    """See System."""

    name = "BentoML"
    requirements = ("bentoml==1.4.40",)
    ready_path = "/readyz"
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"

    def encode(self, wav: bytes) -> bytes:
        """See Peer."""
        fields = {"wavs": ("clip.wav", wav, "audio/wav")}
        body, _ = urllib3.encode_multipart_formdata(fields, _BOUNDARY)
        return body

    def decode(self, body: bytes) -> str:
        """See Peer."""
        (text,) = json.loads(body)
        return str(text)

    def command(self, python: Path, checkpoint: Path) -> list[str]:
        """See Peer."""
        service = f"{__name__}:service"
        return [
            *(str(python), "-m", "bentoml", "serve", service),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]

    def environment(self, python: Path, checkpoint: Path) -> Mapping[str, str]:
        """See Peer."""
        checkpoint_name, log_name = _SETTINGS
        return {
            **super().environment(python, checkpoint),
            checkpoint_name: str(checkpoint),
            log_name: str(self.padding_log),
            "BENTOML_DO_NOT_TRACK": "True",
        }


def _make_service() -> Any:
    """The server: one worker, as there is one device."""
    import bentoml

    from benchmarks.systems.tutorial import Recognizer

    @bentoml.service(workers=1, traffic={"timeout": 300})
    class Transcriber:
        def __init__(self) -> None:
            checkpoint, log = (os.environ[name] for name in _SETTINGS)
            self.recognize = Recognizer(checkpoint, log)

        @bentoml.api(batchable=True, max_batch_size=MAX_BATCH_SIZE, max_latency_ms=300_000)
        def transcribe(self, wavs: list[Path]) -> list[str]:
            return self.recognize([path.read_bytes() for path in wavs])

    return Transcriber


def __getattr__(name: str) -> Any:
    """`service`, made where BentoML is installed."""
    if name != "service":
        raise AttributeError(name)
    return _make_service()
