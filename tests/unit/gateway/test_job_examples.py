"""The examples of jobs, against a gateway in front of the fake server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_client.testing import FakeServer
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running
from tests.unit.gateway.test_jobs import Caller
from tests.unit.gateway.test_webhooks import SECRET, write_keys

EXAMPLES = Path(__file__).parents[3] / "examples" / "gateway"


@pytest.fixture
def recording(tmp_path: Path, server: FakeServer) -> Path:
    path = tmp_path / "recording.ogg"
    path.write_bytes(b"OggS an example")
    server.answer(path.read_bytes(), "ten of clubs")
    return path


@pytest.mark.parametrize("example", ["jobs.sh", "jobs.py"])
def test_a_job(gateway: RunningGateway, recording: Path, example: str):
    program = [sys.executable, str(EXAMPLES / example), str(recording), "--url", gateway.url]
    if example == "jobs.sh":
        assert shutil.which("curl"), "curl is needed"
        program = ["bash", str(EXAMPLES / example), str(recording), gateway.url]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ten of clubs\n")
    assert Caller(gateway).ask().json()["data"] == []


@pytest.fixture
def receiver(unused_tcp_port: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "webhook_receiver.py", f"--port={unused_tcp_port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"WEBHOOK_SECRET": SECRET},
    )
    assert process.stdout is not None
    assert "listening" in process.stdout.readline()
    yield f"http://127.0.0.1:{unused_tcp_port}/hook", process
    process.kill()
    process.communicate()


def test_a_webhook(server: FakeServer, tmp_path: Path, receiver: tuple[str, subprocess.Popen[str]]):
    url, process = receiver
    keys = write_keys(tmp_path / "keys.json")
    with running(server.url, keys=keys, allow_private_urls=True) as gateway:
        alice = Caller(gateway)
        id = alice.create(webhook_url=url)
        wait_until(lambda: alice.job(id)["webhook"]["status"] == "delivered")
        assert process.stdout is not None
        assert process.stdout.readline() == f"job.succeeded {id}\n"
        assert gateway.http.post(url, json={}).status_code == 401
