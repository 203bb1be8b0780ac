"""Headless runs against the fake server, each in a process of its own, which gevent patches."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_client.testing import FakeServer, Fault

ROOT = Path(__file__).parents[3]
DELAY_S = 0.2


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(delay_s=DELAY_S) as fake:
        yield fake


def _load(url: str, *flags: str) -> tuple[int, str]:
    """The exit status of a run and all it printed."""
    command = [sys.executable, "-m", "load_tests", "--url", url, *flags]
    run = subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return run.returncode, run.stdout


def test_users_wait_side_by_side(server):
    status, printed = _load(server.url, "--users", "8", "--duration-s", "4")
    assert status == 0, printed
    assert "Aggregated" in printed
    assert f"gates kept: {len(server.requests)} calls, 0 failed" in printed
    # Users who take turns get no further than this, however fast the machine.
    in_turn = 4 / DELAY_S
    assert len(server.requests) > 2 * in_turn
    assert len({request.audio for request in server.requests}) > 10


def test_broken_p95_fails_the_run(server):
    status, printed = _load(server.url, "--users", "2", "--duration-s", "1", "--max-p95-s", "0.1")
    assert status == 1
    assert "gate broken: p95" in printed
    assert "gate broken: failures" not in printed


def test_failed_calls_are_counted_and_not_retried(server):
    server.fail(Fault.QUEUE_FULL, times=3)
    status, printed = _load(server.url, "--users", "2", "--duration-s", "1")
    assert status == 1
    assert f"failures: 3 of {len(server.requests)} calls" in printed
    assert "ServerBusy" in printed


def test_few_enough_failures_pass(server):
    server.fail(Fault.QUEUE_FULL, times=1)
    status, printed = _load(
        server.url, "--users", "2", "--duration-s", "1", "--max-failures", "0.9"
    )
    assert status == 0, printed


def test_run_without_a_request_fails(server):
    status, printed = _load(server.url, "--users", "0", "--duration-s", "1")
    assert status == 1
    assert "requests: none was made" in printed


def test_server_that_is_not_ready_gets_no_load(server):
    server.ready = False
    status, printed = _load(server.url, "--duration-s", "1")
    assert status == 1
    assert "no server is ready" in printed
    assert server.requests == ()


@pytest.mark.parametrize("url", ["192.0.2.1:8001", "127.0.0.1.example:8001"])
def test_another_machine_is_refused(url):
    status, printed = _load(url, "--duration-s", "1")
    assert status == 1
    assert "say --allow-remote" in printed
