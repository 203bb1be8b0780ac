"""`--compile` on the real server: all of it before ready, and the same transcripts."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.ctc.greedy import GreedyDecoder
from asr_client import Client
from tests.support import recordings
from tests.support.backend.checkpoints import write_checkpoint
from tools.local_server import local_server

pytestmark = pytest.mark.server

SPEECH = recordings.samples(min(recordings.texts()))
# One frame, which nothing is compiled for; lengths of all kinds, a window's longest among them.
CLIPS = [SPEECH[:400], SPEECH[:800], SPEECH, SPEECH[5_000:], np.tile(SPEECH, 20)[: 20 * 16_000]]

# Not to try out each kind of vector instruction: that takes seconds, and shows nothing here.
UNASKED = {"TORCHINDUCTOR_VEC_ISA_OK": "1"}


def test_all_is_compiled_when_the_server_is_ready(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "tiny", "base-960h", num_hidden_layers=1)
    checkpoint = load_checkpoint(folder)
    engine = load_engine(checkpoint, device="cpu", precision="fp32", threads=1)

    def text(clip: np.ndarray) -> str:
        decoder = GreedyDecoder(checkpoint)
        decoder.push(engine.forward([clip])[0])
        return decoder.finish(clip.size / 16_000).text

    expected = [text(clip) for clip in CLIPS]
    assert len(set(expected)) == len(CLIPS)
    log_path, made = tmp_path / "log", tmp_path / "made"
    flags = (f"--model={folder}", "--compile", "--device=cpu", "--precision=fp32")
    with (
        log_path.open("wb") as log,
        local_server(
            *(*flags, "--frontends=1", "--max-queue-delay-us=50000"),
            log=log,
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(made), **UNASKED},
        ) as server,
        Client(server.url, timeout_s=60) as client,
        ThreadPoolExecutor(2 * len(CLIPS)) as pool,
    ):

        def heard(clip: np.ndarray) -> str:
            return client.transcribe(clip, sample_rate=16_000).text

        libraries = sorted(made.rglob("*.so"))
        assert len(libraries) >= 3
        assert list(map(heard, CLIPS)) == expected
        assert list(pool.map(heard, [*CLIPS, *CLIPS])) == [*expected, *expected]
        assert sorted(made.rglob("*.so")) == libraries
    assert "wav2vec2 runs in fp32 on torch, compiled, cpu" in log_path.read_text()
