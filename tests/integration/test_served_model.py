"""What a server says of its model is what computed, where `auto` chose and where it was kept."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from asr_backend.checkpoint.description import demo_checkpoint
from asr_client import Client
from tests.support import recordings
from tools.local_server import local_server

pytestmark = pytest.mark.server


def test_a_checkpoint_that_int8_is_too_inexact_for(tmp_path: Path) -> None:
    folder = tmp_path / "delicate"
    shutil.copytree(demo_checkpoint(), folder)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if name.endswith("intermediate_dense.weight"):
            weights[name] *= 10
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    flags = ("--device=cpu", "--frontends=1", "--stream-frontends=0", f"--model={folder}")
    flags += (f"--run-dir={tmp_path / 'run'}", f"--cache-dir={tmp_path / 'cache'}")
    started = []
    for start in ("first", "second"):
        log = tmp_path / start
        with (
            log.open("wb") as file,
            local_server(*flags, log=file) as server,
            Client(server.url, timeout_s=60) as client,
        ):
            info = client.info()
            model = client.transcribe(recordings.FOLDER / min(recordings.texts())).model
            (process,) = server.stubs("wav2vec2")
            has_torch = any("libtorch" in each.path for each in process.memory_maps())
        lines = log.read_text(errors="replace").splitlines()
        assert (info.model_id, len(info.model_revision or "")) == ("delicate", 12)
        assert (model.id, model.revision) == (info.model_id, info.model_revision)
        assert (model.precision, model.fingerprint) == (info.precision, info.fingerprint)
        assert [line for line in lines if f"wav2vec2 runs in {info.precision} on" in line]
        assert [line for line in lines if f"auto takes {info.precision}, measured for" in line]
        assert not [line for line in lines if "wav2vec2 runs in int8" in line]
        # Only fp32 runs on torch.
        assert has_torch == (info.precision == "fp32")
        started.append((info, [line for line in lines if ": int8 on OpenVINO, cpu is " in line]))
    (first, complaints), (second, none) = started
    assert dataclasses.replace(first, address=second.address) == second
    assert (len(complaints), len(none)) == (1, 0), "it is measured once"
