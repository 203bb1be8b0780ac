"""`asr batch`, as its own process where it has to die."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from asr_client import _manifest
from asr_client._commands import app
from asr_client.testing import FakeServer, Fault
from tests.recordings import FOLDER

CARD = FOLDER / "cards-003-seven-of-clubs.wav"
ASR = "from asr_client.cli import main; main()"


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_URL", raising=False)


class Job:
    """A manifest of small recordings, its results, and the server."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self.manifest = folder / "manifest.jsonl"
        self.output = folder / "results.jsonl"
        self.server = server
        self.processes: list[subprocess.Popen[Any]] = []
        (folder / "card.wav").write_bytes(CARD.read_bytes())

    def lines(self, *lines: dict[str, Any]) -> None:
        self.manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def cards(self, count: int) -> None:
        self.lines(*({"audio": "card.wav", "id": number} for number in range(count)))

    def arguments(self, *more: str) -> list[str]:
        files = [str(self.manifest), "--output", str(self.output)]
        return ["batch", *files, "--url", self.server.url, *more]

    def run(self, *more: str) -> Result:
        return CliRunner().invoke(app, self.arguments(*more))

    def start(self, *more: str, code: str = ASR, **settings: Any) -> subprocess.Popen[Any]:
        command = [sys.executable, "-c", code, *self.arguments(*more)]
        stderr = settings.pop("stderr", subprocess.PIPE)
        self.processes.append(subprocess.Popen(command, stderr=stderr, **settings))
        return self.processes[-1]

    def end(self) -> None:
        """Leaves nothing to the tests after this one, whatever failed."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def ids(self) -> list[Any]:
        return [result["id"] for result in self.results()]

    def whole_lines(self) -> int:
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0


@pytest.fixture
def job(tmp_path: Path, server: FakeServer) -> Iterator[Job]:
    job = Job(tmp_path, server)
    yield job
    job.end()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_line_gets_its_result(job: Job) -> None:
    job.lines(
        {"audio": "card.wav"},
        {"audio": "card.wav", "id": "chars", "timestamps": "char"},
        {"audio": "card.wav", "id": 3, "timestamps": "none", "channel": 0},
    )
    done = job.run("--concurrency", "2")
    assert (done.exit_code, done.stdout) == (0, "")
    assert re.fullmatch(
        r"asr: 3 of 3 lines in \d+ s: 0\.00 h  RTFx [\d.]+  0 failed\n", done.stderr
    )
    results = {result["id"]: result for result in job.results()}
    assert set(results) == {"card.wav", "chars", 3}
    for result in results.values():
        assert list(result)[:3] == ["id", "audio", "text"]
        assert (result["audio"], result["text"]) == ("card.wav", "seven of clubs")
        assert result["duration_s"] > 0
        assert result["model"] == {"id": "fake", "revision": "1"}
    assert [word["text"] for word in results["card.wav"]["words"]] == ["seven", "of", "clubs"]
    assert len(results["chars"]["chars"]) == 12
    assert results[3]["words"] == []


def test_a_line_s_own_decoder_goes_before_the_command_s(job: Job) -> None:
    job.lines({"audio": "card.wav"}, {"audio": "card.wav", "id": 2, "decoder": "greedy"})
    assert job.run("--decoder", "beam", "--concurrency", "1").exit_code == 0
    options = [json.loads(request.options) for request in job.server.requests]
    assert [one["decoder"] for one in options] == ["beam", "greedy"]


def test_failed_lines_say_why_and_are_tried_again_only_when_asked_to(job: Job) -> None:
    (job.manifest.parent / "text.wav").write_text("no audio")
    job.lines(
        {"audio": "text.wav"},
        {"audio": "later.wav"},
        {"audio": "card.wav"},
        {"audio": "card.wav", "id": "odd", "sample_rate": "many"},
    )
    first = job.run()
    assert first.exit_code == 1
    errors = {result["id"]: result.get("error") for result in job.results()}
    assert errors["card.wav"] is None
    assert errors["text.wav"] == {
        "code": "UNSUPPORTED_FORMAT",
        "kind": "InvalidAudio",
        "message": "the audio format is not supported: UNSUPPORTED_FORMAT: no known audio format",
    }
    assert errors["later.wav"] == {
        "code": None, "kind": "FileNotFoundError", "message": "No such file or directory",
    }  # fmt: skip
    assert errors["odd"]["kind"] == "ValueError"
    assert "asr: later.wav: No such file or directory" in first.stderr
    assert "4 of 4 lines" in first.stderr
    assert "3 failed" in first.stderr

    (job.manifest.parent / "later.wav").write_bytes(CARD.read_bytes())
    before, asked = job.output.read_text(), len(job.server.requests)
    again = job.run()
    assert again.exit_code == 1
    assert "3 lines failed before; --retry-failed tries them again" in again.stderr
    assert (job.output.read_text(), len(job.server.requests)) == (before, asked)

    retried = job.run("--retry-failed")
    assert retried.exit_code == 1
    assert sorted(map(str, job.ids())) == ["card.wav", "later.wav", "odd", "text.wav"]
    assert {result["id"] for result in job.results() if "error" in result} == {"text.wav", "odd"}
    assert len(job.server.requests) == asked + 2


def test_a_finished_manifest_asks_the_server_nothing(job: Job) -> None:
    job.cards(3)
    assert job.run().exit_code == 0
    asked = len(job.server.requests)
    done = job.run()
    assert done.exit_code == 0
    assert "0 of 3 lines in 0 s, 3 before" in done.stderr
    assert len(job.server.requests) == asked


def test_a_manifest_that_grew_is_gone_on_with(job: Job) -> None:
    job.cards(3)
    job.run()
    job.cards(5)
    assert job.run().exit_code == 0
    assert sorted(job.ids()) == [0, 1, 2, 3, 4]
    assert len(job.server.requests) == 5


def test_results_of_other_lines_stay_and_are_mentioned(job: Job) -> None:
    (job.manifest.parent / "text.wav").write_text("no audio")
    job.lines({"audio": "text.wav"}, {"audio": "card.wav"})
    assert job.run().exit_code == 1
    job.cards(2)
    done = job.run()
    assert done.exit_code == 0
    assert "2 of 2 lines" in done.stderr
    assert "2 results are of no line of this manifest" in done.stderr
    assert set(job.ids()) == {"text.wav", "card.wav", 0, 1}


def test_results_are_on_the_disk_before_the_next_line_is_asked_for(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    write, fsync, lines = os.write, os.fsync, _manifest.lines

    def noted_lines(manifest: Path) -> Iterator[_manifest.Line]:
        for line in lines(manifest):
            events.append("ask")
            yield line
        events.append("end")

    def noted_write(file: int, data: Any) -> int:
        if bytes(data).startswith(b'{"id": '):
            events.append("write")
        return write(file, data)

    def noted_sync(file: int) -> None:
        events.append("sync")
        fsync(file)

    monkeypatch.setattr(_manifest, "lines", noted_lines)
    monkeypatch.setattr(os, "write", noted_write)
    monkeypatch.setattr(os, "fsync", noted_sync)
    job.cards(30)
    assert job.run("--concurrency", "4").exit_code == 0
    assert (events.count("ask"), events.count("write")) == (30, 30)
    dirty = False
    for event in events:
        dirty = event == "write" or (dirty and event != "sync")
        assert not (dirty and event in ("ask", "end"))
    assert not dirty


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
        # What is in work when it dies is asked for again, and nothing else.
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
    job.cards(30)
    job.server.delay_s = 0.02
    process = job.start("--concurrency", "2", text=True)
    wait_until(lambda: job.whole_lines() >= 3)
    job.server.stop()
    time.sleep(1)
    job.server.start()
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, "30 of 30 lines" in stderr) == (0, True), stderr
    assert sorted(job.ids()) == list(range(30))


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


def test_a_busy_server_gets_all_of_it(job: Job) -> None:
    job.cards(20)
    job.server.capacity = 1
    job.server.delay_s = 0.005
    assert job.run("--concurrency", "8").exit_code == 0
    assert sorted(job.ids()) == list(range(20))


def test_what_cannot_be_is_said_before_anything_is_done(job: Job) -> None:
    job.cards(2)
    results, manifest = job.output, job.manifest
    job.output = manifest
    assert_refused(job, "is the manifest")
    job.output = Path("/dev/full")
    assert_refused(job, "is not a file")
    job.output = results
    job.manifest = manifest.with_name("missing.jsonl")
    assert_refused(job, "missing.jsonl: No such file")
    job.manifest = manifest
    with job.output.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert_refused(job, "another command is writing")
    job.lines({"audio": "card.wav"}, {"audio": "card.wav"})
    assert_refused(job, 'line 2: "card.wav" is line 1 already')


def assert_refused(job: Job, words: str) -> None:
    done = job.run()
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert job.server.requests == ()


def test_a_terminal_sees_how_far_it_is(job: Job) -> None:
    job.cards(6)
    (job.manifest.parent / "text.wav").write_text("no audio")
    with job.manifest.open("a") as manifest:
        manifest.write('{"audio": "text.wav"}\n')
    terminal, stderr = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = job.start(stderr=stderr, env=environment)
    os.close(stderr)
    shown = bytearray()
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass  # The other end of a terminal closes so.
    finally:
        os.close(terminal)
    assert process.wait(60) == 1
    assert b"7/7" in shown
    assert b"RTFx" in shown
    assert b"1 failed" in shown
    assert b" h " in shown
