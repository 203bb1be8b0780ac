"""`--compile` on the real server: all of it before ready, and the same transcripts."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from asr_client import Client
from tests import recordings
from tools.local_server import LocalServer, local_server

pytestmark = pytest.mark.server


def test_all_is_compiled_when_the_server_is_ready(server: LocalServer, tmp_path: Path) -> None:
    log_path, made = tmp_path / "log", tmp_path / "made"
    flags = ("--compile", "--device=cpu", "--precision=fp32", "--frontends=1")
    env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(made)}
    with (
        log_path.open("wb") as log,
        local_server(*flags, log=log, env=env) as compiled,
        Client(compiled.url, timeout_s=60) as client,
        Client(server.url, timeout_s=60) as plain,
    ):
        libraries = sorted(made.rglob("*.so"))
        clips = [recordings.samples(name) for name in sorted(recordings.texts())]
        clips += [np.tile(clips[0], 3), clips[0][:800], clips[0][:400]]
        for clip in clips:
            expected = plain.transcribe(clip, sample_rate=16_000)
            assert client.transcribe(clip, sample_rate=16_000).text == expected.text
        assert libraries == sorted(made.rglob("*.so"))
    assert len(libraries) >= 3
    assert "wav2vec2 runs in fp32 on torch, compiled, cpu" in log_path.read_text()
