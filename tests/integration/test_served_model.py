"""What a server says of its model is what computed, also where `auto` had to choose again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from asr_backend.acoustic.precision import cpu_has_bf16
from asr_backend.checkpoint.description import demo_checkpoint
from asr_client import Client
from tests.support import recordings
from tools.local_server import local_server

pytestmark = pytest.mark.server


@pytest.mark.skipif(not cpu_has_bf16(), reason="auto begins with int8 on CPUs with bf16")
def test_a_checkpoint_that_int8_is_too_inexact_for(tmp_path: Path) -> None:
    folder = tmp_path / "delicate"
    shutil.copytree(demo_checkpoint(), folder)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if name.endswith("intermediate_dense.weight"):
            weights[name] *= 10
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    log = tmp_path / "log"
    flags = ("--device=cpu", "--frontends=1", f"--model={folder}", f"--run-dir={tmp_path / 'run'}")
    with (
        log.open("wb") as file,
        local_server(*flags, log=file) as server,
        Client(server.url, timeout_s=60) as client,
    ):
        info = client.info()
        model = client.transcribe(recordings.FOLDER / min(recordings.texts())).model
    lines = log.read_text(errors="replace").splitlines()
    (refused,) = (line for line in lines if "wav2vec2 cannot start: " in line)
    assert "int8 on " in refused
    assert any("auto takes bf16, and starts again" in line for line in lines)
    assert [line for line in lines if "wav2vec2 runs in bf16" in line]
    assert not [line for line in lines if "wav2vec2 runs in int8" in line]
    assert (info.model_id, info.precision) == ("delicate", "bf16")
    assert len(info.model_revision or "") == 12
    assert (model.id, model.revision) == (info.model_id, info.model_revision)
    assert (model.precision, model.fingerprint) == ("bf16", info.fingerprint)
