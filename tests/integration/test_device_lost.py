"""A device whose context has ended: its process ends and is replaced, and callers wait."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

import asr_backend
from asr_client import Client, RetryPolicy
from tests.support import recordings
from tests.support.server.dummy_server import wait_for
from tools.local_server import LocalServer, free_ports

pytestmark = pytest.mark.server

CLIP = recordings.wav(recordings.pcm("go-forward-ten-meters.wav"))
# While the file is there, the next forward but that of a warm-up fails as after a wild kernel.
MODEL = """
from pathlib import Path
import triton_python_backend_utils as pb_utils
from asr_backend.acoustic.model import Wav2Vec2Model

class TritonPythonModel:
    def initialize(self, args):
        self._model = Wav2Vec2Model.from_triton(args, pb_utils)
        engine = self._model._engine
        run = engine._run
        ended = False

        def fail():
            if ended:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")

        def forward(windows, dtype):
            nonlocal ended
            fault = Path({fault!r})
            if not ended and fault.exists() and any(window.any() for window in windows):
                fault.unlink()
                ended = True
            fail()
            return run(windows, dtype)

        engine._run, engine._synchronize = forward, fail

    def execute(self, requests):
        self._model.execute(requests)
"""
PROGRAM = """
import sys
from pathlib import Path
from asr_backend.server.cli import serve
from asr_backend.server.settings import parse
raise SystemExit(serve(parse(sys.argv[2:], {}).settings, packaged=Path(sys.argv[1])))
"""


@dataclass(frozen=True)
class FaultyServer:
    """A server whose device fails once after `fault` is touched."""

    server: LocalServer
    fault: Path
    log: Path


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultyServer]:
    models, fault, log = (tmp_path / name for name in ("models", "fault", "log"))
    shutil.copytree(Path(asr_backend.__file__).parent / "model_repository", models)
    (models / "wav2vec2" / "1" / "model.py").write_text(MODEL.format(fault=str(fault)))
    ports = dict(zip(("grpc", "metrics", "health"), free_ports(3), strict=True))
    flags = [f"--{name}-port={port}" for name, port in ports.items()]
    flags += [f"--run-dir={tmp_path / 'run'}", "--frontends=1", "--precision=fp32"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(models), *flags], stdout=output, stderr=output
        )
    server = LocalServer(process=process, **{f"{name}_port": port for name, port in ports.items()})
    try:
        server.wait_until_ready()
        yield FaultyServer(server, fault, log)
    finally:
        server.stop(at_once=True)
        sys.stderr.write(log.read_text(errors="replace"))


def test_callers_of_transcribe_see_latency_only_and_direct_ones_a_code(
    faulty: FaultyServer,
) -> None:
    (stub,) = faulty.server.stubs("wav2vec2")
    with Client(faulty.server.url, timeout_s=120, retry=RetryPolicy(max_attempts=1)) as client:
        expected = client.transcribe(CLIP).text
        faulty.fault.touch()
        assert client.transcribe(CLIP).text == expected
    assert not faulty.fault.exists()
    assert "the device is lost, this process ends" in faulty.log.read_text()
    (fresh,) = faulty.server.stubs("wav2vec2")
    assert fresh.pid != stub.pid

    wait_for(lambda: faulty.server.health()[0] == 200)
    samples = np.full((1, 1_600), 0.1, np.float32)
    samples[0, ::2] = -0.1
    window = InferInput("SAMPLES", list(samples.shape), "FP32")
    window.set_data_from_numpy(samples)
    faulty.fault.touch()
    with InferenceServerClient(faulty.server.url) as direct:
        with pytest.raises(InferenceServerException, match="ENGINE_RESTARTING: ") as caught:
            direct.infer("wav2vec2", [window], client_timeout=60)
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
    assert faulty.server.process.poll() is None
