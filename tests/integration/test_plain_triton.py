"""The model repository serves without asr-server, by the commands that docs/triton.md gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_client import Client
from tests.support import recordings
from tests.support.server import reference
from tests.support.server.plain_triton import plain_triton

pytestmark = pytest.mark.server

NAME = "cards-002-four-queen-of-clubs.wav"


def test_the_repository_serves_from_a_plain_tritonserver(tmp_path: Path):
    with plain_triton(tmp_path) as url, Client(url, timeout_s=60) as client:
        client.wait_until_ready(120)
        transcript = client.transcribe(recordings.FOLDER / NAME)
    assert transcript.text == reference.text(recordings.samples(NAME))
