"""Headless runs against the fake server, each in a process of its own, which gevent patches."""

import contextlib
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_client.testing import FakeServer, Fault
from load_tests.__main__ import main
from load_tests.report.summary import COLUMNS
from load_tests.run.corpus import build_corpus, digest
from tools.local_server import free_ports

ROOT = Path(__file__).parents[4]
DELAY_S = 0.05


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(delay_s=DELAY_S) as fake:
        yield fake


def start(url: str, *flags: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "load_tests", "--url", url, *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )


def load(url: str, *flags: str) -> tuple[int, str]:
    """The exit status of a run and all it printed."""
    with start(url, *flags) as run:
        try:
            printed, _ = run.communicate(timeout=120)
        finally:
            run.kill()
    return run.returncode, printed


def test_users_wait_side_by_side(server, tmp_path):
    output = tmp_path / "run.json"
    status, printed = load(
        server.url,
        *("--users", "8", "--duration-s", "2"),
        *("--output", str(output)),
    )
    assert status == 0, printed
    assert "gates kept" in printed
    written = json.loads(output.read_text())
    figures = written["figures"]
    # Users who take turns get no further than this, however fast the machine.
    in_turn = 2 / DELAY_S
    assert figures["requests"] > 2 * in_turn
    # Besides the run each clip was sent once, alone.
    assert len(server.requests) == figures["requests"] + 32
    assert len({request.audio for request in server.requests}) == 32
    assert figures["word_error_rate"] == figures["word_error_rate_alone"] == 1
    assert figures["transcripts_changed"] == 0
    assert [row["what"] for row in written["rows"]] == ["commands", "sentences", "all"]
    assert re.search(rf"\n +Aggregated +{figures['requests']} ", printed)


def test_an_open_loop_of_several_processes_achieves_what_is_offered(server):
    # Twice what two processes get done whose callers take turns.
    status, printed = load(
        server.url,
        *("--arrivals", f"constant:{4 / DELAY_S:g}", "--duration-s", "3"),
        *("--processes", "2", "--slo", "achieved>90%,failures<=0"),
    )
    assert status == 0, printed
    assert "offered 80.0 calls/s" in printed
    assert len(server.requests) == 240 + 32


def test_locust_s_own_command_with_a_master_workers_and_the_web_page(server, tmp_path):
    output = tmp_path / "run.json"
    web_port, master_port = free_ports(2)
    locust = [sys.executable, "-m", "locust", "-f", str(ROOT / "load_tests" / "locustfile.py")]
    commands = [
        [*locust, "--worker", "--master-port", str(master_port), "--seed", str(seed)]
        for seed in (1, 2)
    ]
    web = ("--web-host", "127.0.0.1", "--web-port", str(web_port))
    commands.append(
        [
            *locust,
            "--master",
            "--master-bind-port",
            str(master_port),
            "--host",
            server.url,
            *web,
            "--output",
            str(output),
        ]
    )
    page = f"http://127.0.0.1:{web_port}"
    form = {"user_count": "8", "spawn_rate": "8", "seed": "5"}
    form |= {"scenario": "mixed", "duration_s": "2", "slo": "rps>1"}
    # Users of the page must not choose files or servers.
    form |= {"output": str(tmp_path / "chosen"), "host": "127.0.0.1:9"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, cwd=ROOT, **quiet)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        wait_until(lambda: len(json.loads(fetch(f"{page}/stats/requests"))["workers"]) == 2)
        assert fetch(f"{page}/summary") == "no run has ended yet\n"
        for name, value, said in REFUSED:
            answer = json.loads(fetch(f"{page}/swarm", encode(form | {name: value})))
            assert not answer["success"]
            assert re.search(said, answer["message"]), answer
        assert server.requests == ()
        fetch(f"{page}/swarm", encode(form))
        wait_until(lambda: "gates kept" in fetch(f"{page}/summary"))
        index = fetch(page)
        wait_until(lambda: transcripts(page)[-1]["column_0"] == "all")
        rows = transcripts(page)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    written = json.loads(output.read_text())
    # The page has a tab with a row for each kind of clip, the word error rate beside the latencies.
    assert '"title": "Transcripts"' in html.unescape(index)
    assert [row["column_0"] for row in rows] == ["commands", "meetings", "all"]
    assert [COLUMNS[int(key.partition("_")[2])] for key in rows[0]] == list(COLUMNS)
    assert rows[-1][f"column_{COLUMNS.index('calls')}"] == str(written["figures"]["requests"])
    assert rows[-1][f"column_{COLUMNS.index('WER')}"] == "100.0 %"
    assert rows[-1][f"column_{COLUMNS.index('p95')}"].endswith("s")
    # The clips and the address are those of the master, not of the workers.
    mix = {"commands": 8, "meetings": 8}
    assert written["corpus"] == digest(build_corpus(seed=5, mix=mix))
    assert len({request.audio for request in server.requests}) == 16
    assert len(server.requests) == written["figures"]["requests"] + 16
    # Users who take turns get no further than this, however fast the machine.
    assert written["figures"]["requests"] > 2 * 2 / DELAY_S


REFUSED = (
    ("scenario", "steadfast", "scenario: 'steadfast' is not one of steady, ramp"),
    ("arrivals", "trace:/no/such/file", "a trace can be named on the command line only"),
    ("arrivals", "often", "'often' is not constant:RATE"),
    ("slo", "p42<1s", "is no gate"),
    ("duration_s", "long", "duration_s: 'long' is not a number"),
    ("duration_s", "-1", "duration_s: -1 is not 0 or more seconds"),
    ("user_count", "1.5", "user_count: '1.5' is not a number"),
)
"""What the web page may be sent, and what it answers."""


def encode(form: dict[str, str]) -> bytes:
    return urllib.parse.urlencode(form).encode()


def transcripts(page: str) -> list[dict[str, str]]:
    """The rows of our tab."""
    (table,) = json.loads(fetch(f"{page}/stats/requests"))["extended_stats"]
    return table["data"]


def fetch(url: str, form: bytes | None = None) -> str:
    with urllib.request.urlopen(url, form, timeout=30) as answer:
        return str(answer.read().decode())


def wait_until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, KeyError):
            if come():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for(server: FakeServer, requests: int) -> None:
    wait_until(lambda: len(server.requests) >= requests)


def test_a_stall_is_seen_in_an_open_loop_and_hides_in_a_closed_one():
    loops = {"open": ("--arrivals", "constant:40"), "closed": ("--users", "1")}
    flags = ("--duration-s", "8", "--slo", "failures<=0,rps>1")
    p99_s = {}
    with contextlib.ExitStack() as stack:
        # A call takes about as long as the open loop has between two.
        servers = {loop: stack.enter_context(FakeServer(delay_s=0.02)) for loop in loops}
        runs = {
            loop: stack.enter_context(start(server.url, *flags, *loops[loop]))
            for loop, server in servers.items()
        }
        for server in servers.values():
            wait_for(server, 32 + 20)
            server.stall(2.0)
        for loop, run in runs.items():
            printed, _ = run.communicate(timeout=120)
            assert run.returncode == 0, printed
            row = next(line for line in printed.splitlines() if line.startswith("all "))
            value, unit = re.findall(r"([\d.]+) (ms|s)", row)[2]
            p99_s[loop] = float(value) / (1000 if unit == "ms" else 1)
    # 80 of 320 calls fell into the stall, but only one of those who wait before they call again.
    assert p99_s["open"] > 1.5
    assert p99_s["closed"] < 1.0


def test_failures_are_not_retried_and_broken_gates_say_by_how_much(server):
    slo = "p95<0.01s,failures<0.1%,wer<0.5,rps>1"
    with start(server.url, "--users", "2", "--duration-s", "2", "--slo", slo) as run:
        wait_for(server, 33)
        server.fail(Fault.QUEUE_FULL, times=3)
        printed, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "failed: 3 ServerBusy" in printed
    broken = re.findall(r"gate broken: (.*)", printed)
    assert [reason.partition(":")[0] for reason in broken] == ["p95", "failures", "wer"]
    assert re.match(r"p95: 0\.\d+ s, 0\.\d+ s over the limit of < 0\.01 s", broken[0])
    assert broken[2] == "wer: 100 %, 50 % over the limit of < 50 %"


def test_run_without_a_request_fails(server):
    status, printed = load(server.url, "--users", "0", "--duration-s", "1")
    assert status == 1
    assert "requests: none was made" in printed


def test_ctrl_c_ends_a_run_with_what_was_until_then(server, tmp_path):
    output = tmp_path / "run.json"
    flags = ("--users", "2", "--duration-s", "60", "--output", str(output))
    with start(server.url, *flags, start_new_session=True) as run:
        wait_for(server, 40)
        # As a terminal does: to all processes of the command.
        os.killpg(run.pid, signal.SIGINT)
        printed, _ = run.communicate(timeout=60)
    assert run.returncode == 0, printed
    assert printed.endswith("gates kept\n")
    assert "Traceback" not in printed
    assert json.loads(output.read_text())["figures"]["requests"] > 0


def test_server_that_is_not_ready_gets_no_load(server):
    server.ready = False
    status, printed = load(server.url, "--duration-s", "1")
    assert status == 1
    assert "no server is ready" in printed
    assert server.requests == ()


def test_a_run_whose_warm_up_fails_does_not_begin(server):
    server.fail(Fault.INTERNAL_ERROR)
    status, printed = load(server.url, "--duration-s", "1")
    assert status == 1
    assert "the run did not begin: the server failed INTERNAL_ERROR: id 0123456789ab" in printed


@pytest.mark.parametrize("url", ["192.0.2.1:8001", "127.0.0.1.example:8001"])
def test_another_machine_is_refused(url):
    status, printed = load(url, "--duration-s", "1")
    assert status == 1
    assert "say --allow-remote" in printed


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--slo", "p42<1s"), "is no gate"),
        (("--arrivals", "often"), "is not constant:RATE"),
        (("--arrivals", "trace:/no/such/file"), "No such file or directory: '/no/such/file'"),
        (("--scenario", "steadfast"), "invalid choice: 'steadfast'"),
        (("--output", "/no/such/run.json"), "No such file or directory: '/no/such/run.json'"),
        (("--users", "-5"), "--users: -5 is not 0 or more"),
        (("--processes", "0"), "--processes: 0 is not 1 or more"),
        (("--duration-s", "nan"), "--duration-s: nan is not above 0"),
        (("--timeout-s", "0"), "--timeout-s: 0 is not above 0"),
    ],
)
def test_wrong_flags_are_refused_before_anything_starts(flags, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--url", "127.0.0.1:9", *flags])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
