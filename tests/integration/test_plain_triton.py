"""The model repository serves without asr-server, by the commands that docs/triton.md gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_client import Client
from tests import recordings
from tests.integration import reference
from tools.local_server import free_ports

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
NAME = "cards-002-four-queen-of-clubs.wav"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    page = (ROOT / "docs" / "triton.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (port,) = free_ports(1)
    prefix = f"plain-{os.getpid()}-"
    script = commands.rstrip().replace("build/backends", str(tmp_path / "backends"))
    script += f" --grpc-port={port} --allow-http=false --allow-metrics=false"
    script += f" --backend-config=python,shm-region-prefix-name={prefix}"
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-euc", script],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for region in Path("/dev/shm").glob(f"{prefix}*"):
            region.unlink()


def test_the_repository_serves_from_a_plain_tritonserver(url: str):
    with Client(url, timeout_s=60) as client:
        client.wait_until_ready(120)
        transcript = client.transcribe(recordings.FOLDER / NAME)
    assert transcript.text == reference.text(recordings.samples(NAME))
