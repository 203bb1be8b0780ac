"""What a newcomer's terminal, shell and files do to the command."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from asr_client.cli import batch
from asr_client.cli.commands import app
from asr_client.testing import FakeServer
from tests.support.client.batch_job import Job
from tests.support.recordings import FOLDER

CARDS = sorted(FOLDER.glob("cards-*.wav"))[:3]
ASR = [sys.executable, "-c", "from asr_client.cli import main; main()"]
SCHEMA = json.loads(Path("contract/v1/result.schema.json").read_text())


def asr(*arguments: str | Path, url: str | None = None, **options: Any) -> Result:
    address = [] if url is None else ["--url", url]
    return CliRunner().invoke(app, [*map(str, arguments), *address], **options)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "dième \u2660".encode()),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "dième \u2660".encode()),
        ({"PYTHONIOENCODING": "latin-1"}, "dième ?".encode("latin-1")),
        ({"PYTHONIOENCODING": "utf-8"}, "dième \u2660".encode()),
    ],
)
@pytest.mark.parametrize("format", ["text", "json"])
def test_no_result_is_lost_to_its_display(
    server: FakeServer, variables: dict[str, str], shown: bytes, format: str
) -> None:
    for card in CARDS[:2]:
        server.answer(card, "dième \u2660")
    done = subprocess.run(
        [*ASR, "transcribe", *CARDS[:2], "--url", server.url, "--format", format],
        env=os.environ | variables,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [shown in line for line in done.stdout.splitlines()] == [True, True]


def test_a_file_s_name_may_be_any_bytes(server: FakeServer, tmp_path: Path) -> None:
    card = tmp_path / "c\udcffrd.wav"
    card.write_bytes(CARDS[0].read_bytes())
    out = tmp_path / "o\udcffut"
    for format in ("text", "json"):
        done = subprocess.run(
            [*ASR, "transcribe", card, CARDS[0], "--url", server.url, "--format", format],
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.splitlines()[0])["file"] == str(card)
    assert asr("transcribe", card, "--output-dir", out, url=server.url).exit_code == 0
    assert (out / "c\udcffrd.txt").read_text() == "seven of clubs\n"


@pytest.mark.parametrize("timestamps", ["none", "word", "char"])
@pytest.mark.parametrize("channel", ["mix", "separate"])
def test_json_is_result(server: FakeServer, job: Job, timestamps: str, channel: str) -> None:
    flags = ["--timestamps", timestamps, "--channel", channel]
    result = asr("transcribe", CARDS[0], "--format", "json", *flags, url=server.url)
    document = json.loads(result.stdout)
    assert document.pop("file") == str(CARDS[0])
    job.cards(1)
    assert job.run(*flags).exit_code == 0
    (line,) = job.results()
    del line["id"], line["audio"]
    for one in (document, line):
        Draft202012Validator(SCHEMA).validate(one)
        assert ("words" in one) == (timestamps != "none")
        assert ("chars" in one) == (timestamps == "char")
        assert ("channels" in one) == (channel == "separate")


def test_standard_input(server: FakeServer, tmp_path: Path) -> None:
    content = CARDS[0].read_bytes()
    result = asr("transcribe", "-", url=server.url, input=content)
    assert (result.exit_code, result.stdout) == (0, "seven of clubs\n")
    assert server.requests[0].audio == content
    result = asr("transcribe", "-", "--output-dir", tmp_path, url=server.url, input=content)
    assert (tmp_path / "stdin.txt").read_text() == "seven of clubs\n"
    assert "can be read once" in asr("transcribe", "-", "-", url=server.url, input=b"x").stderr


def test_folders(server: FakeServer, tmp_path: Path) -> None:
    names = ["b/two.WAV", "a/one.wav", "a/.hidden.wav", ".git/three.wav", "a/notes.txt"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(CARDS[0].read_bytes())
    result = asr("transcribe", tmp_path / "in", url=server.url)
    found = [line.partition(": ")[0] for line in result.stdout.splitlines()]
    assert found == [str(tmp_path / "in" / name) for name in ("a/one.wav", "b/two.WAV")]
    out = tmp_path / "out"
    result = asr("transcribe", tmp_path / "in", "--output-dir", out, url=server.url)
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.txt")) == [
        "a/one.txt",
        "b/two.txt",
    ]

    (tmp_path / "empty").mkdir()
    result = asr("transcribe", tmp_path / "empty", url=server.url)
    assert (result.exit_code, result.stderr) == (
        2,
        f"asr: {tmp_path / 'empty'}: the folder has no recordings\n",
    )


def test_raw_samples_and_the_width_of_the_beam(server: FakeServer, tmp_path: Path) -> None:
    raw = tmp_path / "samples.raw"
    raw.write_bytes(np.zeros(3200, "<i2").tobytes())
    form = ["--encoding", "pcm_s16le", "--sample-rate", "8000", "--channels", "2"]
    beam = ["--decoder", "beam", "--beam-width", "7"]
    result = asr("transcribe", tmp_path, *form, *beam, url=server.url)
    assert (result.exit_code, result.stderr) == (0, "")
    options = json.loads(server.requests[0].options)
    assert (
        options
        | {
            "encoding": "pcm_s16le",
            "sample_rate": 8000,
            "channels": 2,
            "decoder": "beam",
            "beam_width": 7,
        }
        == options
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("joined", [True, False])
def test_several_servers(server: FakeServer, joined: bool) -> None:
    addresses = [f"127.0.0.1:{free_port()}", server.url]
    given = [",".join(addresses)] if joined else addresses
    flags = [part for address in given for part in ("--url", address)]
    result = asr("transcribe", CARDS[0], *flags)
    assert (result.exit_code, result.stdout) == (0, "seven of clubs\n")
    result = asr("status", *flags)
    assert result.exit_code == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("server ")]
    assert ["ready" in line for line in lines] == [False, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_batch_with_a_wrong_address_fails_early(
    job: Job, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(batch, "FIRST_CONTACT_S", 0.1)
    job.cards(2)
    address = f"{host}:{free_port()}"
    result = asr("batch", job.manifest, "--output", job.output, "--url", address)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[0] == "asr: no server answers, trying for 0.1 s"
    assert result.stderr.splitlines()[-1].startswith("asr: stopped: the server is unavailable: ")


def test_a_status_of_nobody_is_not_another_server_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(url: str) -> None:
        raise AssertionError(f"asked {url}")

    monkeypatch.setattr("asr_client.cli.status.read_health", asked)
    result = asr("status", url=f"127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "supervisor" not in result.stdout


@pytest.mark.parametrize("command", ["transcribe", "batch", "status"])
def test_help_has_no_types_of_python(command: str) -> None:
    shown = asr(command, "--help").stdout
    assert not re.search(r"<[a-z]|INTEGER|FLOAT|TEXT|PATH|list\[", shown)


def test_shells_complete_it() -> None:
    done = subprocess.run(
        ASR,
        env=os.environ
        | {"_ASR_COMPLETE": "complete_bash", "COMP_WORDS": "asr tr", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["transcribe"]


def test_a_manifest_in_a_folder_of_any_name(server: FakeServer, tmp_path: Path) -> None:
    folder = tmp_path / 'm\udcff "ö\n'
    folder.mkdir()
    (folder / "dième \u2660.wav").write_bytes(CARDS[0].read_bytes())
    lines = [{"audio": "dième \u2660.wav"}, {"audio": "absent \u2660.wav"}]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = folder / "results.jsonl"
    done = subprocess.run(
        [*ASR, "batch", manifest, "--output", output, "--url", server.url],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert {one["audio"] for one in results} == {line["audio"] for line in lines}
