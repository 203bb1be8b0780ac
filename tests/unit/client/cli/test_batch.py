"""`asr batch`: a result for each line of a manifest."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_client import AudioWarning
from asr_client.cli.manifest import Line, read_lines
from tests.support.client.batch_job import CARD, Job


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
        model = {"id": "fake", "revision": "1", "precision": "fp32", "fingerprint": "fake"}
        assert result["model"] == model
    assert [word["text"] for word in results["card.wav"]["words"]] == ["seven", "of", "clubs"]
    assert len(results["chars"]["chars"]) == 12
    assert "words" not in results[3]
    assert "chars" not in results["card.wav"]


def test_a_warning_is_a_line_and_in_the_result(job: Job) -> None:
    warning = AudioWarning(code="CLIPPED", message="loud")
    job.server.answer(CARD, "seven of clubs", warnings=[warning])
    job.lines({"audio": "card.wav"})
    done = job.run()
    assert done.exit_code == 0
    assert done.stderr.startswith("asr: card.wav: warning: CLIPPED: loud\n")
    (result,) = job.results()
    assert result["warnings"] == [{"code": "CLIPPED", "message": "loud"}]


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
    assert "2 results belong to no line of this manifest" in done.stderr
    assert set(job.ids()) == {"text.wav", "card.wav", 0, 1}


def test_results_are_on_the_disk_before_the_next_line_is_asked_for(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    write, fsync = os.write, os.fsync

    def noted_lines(manifest: Path) -> Iterator[Line]:
        for line in read_lines(manifest):
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

    monkeypatch.setattr("asr_client.cli.batch.read_lines", noted_lines)
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
