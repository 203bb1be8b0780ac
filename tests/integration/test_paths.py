"""Paths with letters that shells, Triton's JSON and its configuration treat in their own way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asr_backend.checkpoint.description import demo_checkpoint
from asr_client import Client
from tests.support.recordings import FOLDER
from tools.local_server import local_server

pytestmark = pytest.mark.server


def test_a_checkpoint_and_a_language_model_in_odd_folders(tmp_path: Path) -> None:
    name = "mödel \"q' 模\n$(touch x)"
    folder = Path(shutil.copytree(demo_checkpoint(), tmp_path / name))
    lm = Path(shutil.move(folder / "language_model", tmp_path / f"{name} l\udcff"))
    (folder / "alphabet.json").unlink()
    with (
        local_server(f"--model={folder}", f"--lm={lm}", "--frontends=1") as server,
        Client(server.url) as client,
    ):
        transcript = client.transcribe(FOLDER / "go-forward-ten-meters.wav", decoder="beam")
    assert transcript.text == "GO FORWARD TEN METERS"
    assert transcript.model.id == name.replace("\n", "\ufffd")
