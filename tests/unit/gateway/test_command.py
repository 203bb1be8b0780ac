"""The command itself, as a process."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from asr_client.testing import FakeServer
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import uploads

PROGRAM = Path(sys.executable).with_name("asr-gateway")


class Process:
    """asr-gateway in front of a fake server."""

    def __init__(self, server: FakeServer, folder: Path) -> None:
        self.server = server
        self.process = subprocess.Popen(
            [PROGRAM, f"--server={server.url}", "--http-port=0"],
            stderr=subprocess.PIPE,
            text=True,
            env={"HOME": str(folder)},
        )
        assert self.process.stderr is not None
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", self.process.stderr.readline())
        assert found
        self.url = found[1]

    def call(self) -> httpx2.Response:
        return httpx2.post(
            f"{self.url}/v1/audio/transcriptions",
            files={"file": b"OggS"},
            data={"model": "whisper-1"},
            timeout=60,
        )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with FakeServer(text="ten of clubs") as server:
        started = Process(server, tmp_path)
        yield started
        server.hung = False
        started.process.kill()
        started.process.communicate()


def test_a_stop_answers_what_is_in_flight_and_ends_with_0(process: Process):
    answers: list[httpx2.Response] = []
    process.server.hung = True
    caller = threading.Thread(target=lambda: answers.append(process.call()))
    caller.start()
    wait_until(lambda: bool(uploads(process.server)))
    process.process.send_signal(signal.SIGTERM)
    assert process.process.stderr is not None
    lines = []
    while "stopping" not in "".join(lines):
        lines.append(process.process.stderr.readline())
    process.server.hung = False
    caller.join()
    assert answers[0].json()["text"] == "ten of clubs"
    assert process.process.wait(60) == 0
    with pytest.raises(httpx2.ConnectError):
        process.call()


def test_a_second_signal_stops_immediately(process: Process):
    process.server.hung = True
    answers: list[httpx2.Response] = []
    caller = threading.Thread(target=lambda: answers.append(process.call()))
    caller.start()
    wait_until(lambda: bool(uploads(process.server)))
    process.process.send_signal(signal.SIGTERM)
    assert process.process.stderr is not None
    while "stopping" not in process.process.stderr.readline():
        pass
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 0
    caller.join()
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]["code"] == "stopping"


def test_a_port_that_is_taken(process: Process):
    port = process.url.rpartition(":")[2]
    second = subprocess.run(
        [PROGRAM, "--server=localhost:1", f"--http-port={port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert second.returncode == 2
    assert re.fullmatch(
        rf"asr-gateway: --host 127\.0\.0\.1 --http-port {port}: .*\n", second.stderr
    )


def test_a_stop_returns_jobs_before_it_answers_requests(process: Process, tmp_path: Path):
    process.server.hung = True
    caller = threading.Thread(target=process.call)
    caller.start()
    wait_until(lambda: bool(uploads(process.server)))
    created = httpx2.post(
        f"{process.url}/v1/jobs",
        files={"file": b"OggS"},
        data={"model": "whisper-1"},
        timeout=60,
    )
    assert created.status_code == 202
    wait_until(lambda: len(uploads(process.server)) == 2)
    process.process.send_signal(signal.SIGTERM)
    file = tmp_path / ".local" / "state" / "asr-gateway" / "store.sqlite3"

    def status() -> str:
        connection = sqlite3.connect(file)
        [(found,)] = connection.execute("SELECT status FROM jobs").fetchall()
        connection.close()
        return str(found)

    wait_until(lambda: status() == "queued")
    assert process.process.poll() is None
    process.server.hung = False
    caller.join()
    assert process.process.wait(60) == 0
    assert [path.name for path in file.with_name("store.sqlite3-blobs").iterdir()] == [
        created.json()["id"]
    ]
