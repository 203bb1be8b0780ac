"""`asr batch` killed, interrupted, out of disk or out of servers, and gone on with."""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess

import pytest

from asr_client.cli import batch
from asr_client.testing import Fault
from tests.support.client.batch_job import ASR, Job
from tests.support.client.waiting import wait_until


def test_killed_again_and_again_it_loses_nothing_and_repeats_nothing(job: Job) -> None:
    job.cards(120)
    job.server.delay_s = 0.02
    for target in (5, 40, 75):
        process = job.start("--concurrency", "3", stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda target=target: job.whole_lines() >= target)  # type: ignore[misc]
        finally:
            process.kill()
            process.wait(30)
        kept = job.ids()
        assert target <= len(kept) == len(set(kept)) < 120
        # Only the recordings in flight at its death are requested again.
        assert len(job.server.requests) <= len(kept) + 3 * (1 + (5, 40, 75).index(target))
    done = job.run()
    assert done.exit_code == 0
    assert sorted(job.ids()) == list(range(120))
    assert job.ids()[: len(kept)] == kept


def test_a_torn_last_line_is_done_again(job: Job) -> None:
    job.cards(3)
    job.run("--concurrency", "1")
    whole = job.output.read_bytes()
    job.output.write_bytes(whole[:-9])
    assert job.run().exit_code == 0
    assert job.ids() == [0, 1, 2]
    assert len(job.server.requests) == 4


def test_a_full_disk_stops_it_and_the_next_run_goes_on(job: Job) -> None:
    job.cards(20)
    limit = 2500
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); {ASR}"
    process = job.start("--concurrency", "2", code=code, text=True)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    assert (
        f"asr: stopped: {job.output}: File too large; run the same command again to go on" in stderr
    )
    assert "Traceback" not in stderr
    kept = job.ids()
    assert 0 < len(kept) < 20
    assert job.output.read_bytes().endswith(b"\n")
    assert job.run().exit_code == 0
    assert sorted(job.ids()) == list(range(20))
    assert job.ids()[: len(kept)] == kept


def test_ctrl_c_stops_it_and_the_next_run_goes_on(job: Job) -> None:
    job.cards(40)
    job.server.delay_s = 0.05
    process = job.start("--concurrency", "2", text=True)
    wait_until(lambda: job.whole_lines() >= 4)
    job.server.delay_s = 60
    asked = len(job.server.requests)
    wait_until(lambda: len(job.server.requests) > asked)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("asr: stopped; run the same command again to go on\n")
    assert "Traceback" not in stderr
    wait_until(lambda: job.server.requests[-1].ended_early.is_set())
    job.server.delay_s = 0
    assert job.run().exit_code == 0
    assert sorted(job.ids()) == list(range(40))


def test_a_server_that_is_away_for_a_while_costs_nothing(job: Job) -> None:
    job.cards(100)
    # Slow at first: all lines must not be done before the server is stopped.
    job.server.delay_s = 0.2
    process = job.start("--concurrency", "2", text=True)
    wait_until(lambda: job.whole_lines() >= 3)
    # It drains first: a stop that meets calls in flight may cancel them, which ends the command.
    job.server.ready = False
    wait_until(lambda: job.whole_lines() == len(job.server.requests))
    job.server.stop()
    job.server.delay_s = 0
    job.server.ready = True
    with socket.create_server(("127.0.0.1", int(job.server.url.rpartition(":")[2]))) as refusing:
        refusing.settimeout(30)
        try:
            for _ in range(2):  # connections that are closed at once
                refusing.accept()[0].close()
        except TimeoutError:
            process.kill()
            raise AssertionError(process.communicate()) from None
    job.server.start()
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, "100 of 100 lines" in stderr) == (0, True), stderr
    assert sorted(job.ids()) == list(range(100))


@pytest.mark.parametrize("fault", [Fault.RESTRICTED, Fault.UNKNOWN_MODEL])
def test_what_would_befall_every_line_stops_it(job: Job, fault: Fault) -> None:
    job.cards(5)
    job.server.fail(fault)
    done = job.run("--concurrency", "1")
    assert done.exit_code == 3
    assert "asr: stopped: the server" in done.stderr
    assert job.results() == []
    assert job.run().exit_code == 0
    assert sorted(job.ids()) == list(range(5))


def test_a_server_that_stays_away_stops_it(job: Job) -> None:
    job.cards(5)
    job.server.stop()
    done = job.run("--timeout", "1")
    assert done.exit_code == 3
    assert "0 of 5 lines" in done.stderr
    assert "asr: stopped: the server is unavailable" in done.stderr
    assert job.results() == []


def test_a_busy_server_gets_all_of_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = dataclasses.replace(batch.PATIENT, initial_backoff_s=0.02)
    monkeypatch.setattr(batch, "PATIENT", soon)
    job.cards(20)
    job.server.capacity = 1
    job.server.delay_s = 0.005
    assert job.run("--concurrency", "8").exit_code == 0
    assert sorted(job.ids()) == list(range(20))
