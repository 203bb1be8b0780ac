"""The command, as its own process where the terminal matters and in this one elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import asr_client.cli.stream  # noqa: F401, for its command
from asr_client import AudioWarning
from asr_client.cli.commands import app
from asr_client.testing import FakeServer, Fault
from tests.support.recordings import FOLDER

CARDS = [str(path) for path in sorted(FOLDER.glob("cards-*.wav"))[:3]]
ASR = [sys.executable, "-c", "from asr_client.cli import main; main()"]


@pytest.fixture(autouse=True)
def _plain_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_URL", raising=False)


def asr(*arguments: str, url: str | None = None) -> Result:
    address = [] if url is None else ["--url", url]
    return CliRunner().invoke(app, [*arguments, *address])


def test_one_file_is_its_text(server: FakeServer) -> None:
    result = asr("transcribe", CARDS[0], url=server.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "seven of clubs\n", "")
    assert json.loads(server.requests[0].options)["timestamps"] == "none"


def test_warnings_go_to_standard_error_and_into_json(server: FakeServer) -> None:
    warning = AudioWarning(code="AUDIO_GAP", message="no audio from 1 s to 2 s")
    server.answer(CARDS[0], "seven of clubs", warnings=[warning])
    result = asr("transcribe", CARDS[0], CARDS[1], "--format", "json", url=server.url)
    assert result.exit_code == 0
    assert result.stderr == f"asr: {CARDS[0]}: warning: AUDIO_GAP: no audio from 1 s to 2 s\n"
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["warnings"] == [{"code": "AUDIO_GAP", "message": "no audio from 1 s to 2 s"}]
    assert "warnings" not in second


def test_it_says_its_version() -> None:
    result = asr("--version")
    assert (result.exit_code, result.stdout) == (0, f"asr {metadata.version('asr-client')}\n")


@pytest.mark.parametrize("command", ["transcribe", "status", "--help"])
def test_a_reader_that_leaves_early_is_no_fault(server: FakeServer, command: str) -> None:
    arguments = {
        "transcribe": ["transcribe", *CARDS, "--url", server.url],
        "status": ["status", "--url", server.url],
    }.get(command, [command])
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*ASR, *arguments], stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_what_is_asked_of_the_decoder(server: FakeServer) -> None:
    words = ("--hotword", "clubs", "--hotword", "ace of spades")
    result = asr("transcribe", CARDS[0], "--decoder", "beam", *words, url=server.url)
    assert (result.exit_code, result.stderr) == (0, "")
    options = json.loads(server.requests[0].options)
    assert (options["decoder"], options["hotwords"]) == ("beam", ["clubs", "ace of spades"])
    assert "language" not in options
    result = asr("transcribe", CARDS[0], "--language", "tlh", url=server.url)
    assert result.exit_code == 1
    assert "UNKNOWN_LANGUAGE" in result.stderr


def test_a_recording_over_the_server_s_limit_is_not_sent(server: FakeServer) -> None:
    result = asr("transcribe", CARDS[0], "--max-audio-bytes", "1000", url=server.url)
    assert (result.exit_code, server.requests) == (1, ())
    assert "AUDIO_TOO_LARGE" in result.stderr


def test_several_files_keep_their_order_and_names(server: FakeServer) -> None:
    server.answer(CARDS[1], "the second")
    result = asr("transcribe", *CARDS, "--concurrency", "3", url=server.url)
    assert result.stdout.splitlines() == [
        f"{CARDS[0]}: seven of clubs",
        f"{CARDS[1]}: the second",
        f"{CARDS[2]}: seven of clubs",
    ]


def test_the_address_comes_from_the_environment(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASR_URL", server.url)
    assert asr("transcribe", CARDS[0]).exit_code == 0


def test_a_failing_file_does_not_stop_the_others(server: FakeServer, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    result = asr(
        "transcribe", CARDS[0], str(text), "missing.wav", CARDS[1], "--concurrency", "1",
        url=server.url,
    )  # fmt: skip
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.splitlines() == [
        f"asr: {text}: the audio format is not supported: "
        "UNSUPPORTED_FORMAT: no known audio format",
        "asr: missing.wav: No such file or directory",
    ]


def test_json_lines(server: FakeServer) -> None:
    result = asr("transcribe", *CARDS, "--format", "json", "--timestamps", "char", url=server.url)
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [document["file"] for document in documents] == CARDS
    assert documents[0]["text"] == "seven of clubs"
    assert documents[0]["words"][0]["text"] == "seven"
    assert documents[0]["chars"][0]["text"] == "s"


@pytest.mark.parametrize(
    ("format", "suffix", "begin"),
    [
        ("text", "txt", "seven"),
        ("json", "json", '{"file"'),
        ("srt", "srt", "1\n00:00:00,000 --> "),
        ("vtt", "vtt", "WEBVTT\n\n00:00:00.000 --> "),
        ("tsv", "tsv", "start_s\t"),
    ],
)
def test_a_folder_gets_one_file_for_each(
    server: FakeServer, tmp_path: Path, format: str, suffix: str, begin: str
) -> None:
    folder = tmp_path / "new" / "folder"
    result = asr(
        "transcribe", *CARDS, "--format", format, "--output-dir", str(folder), url=server.url
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{Path(card).stem}.{suffix}" for card in CARDS
    )
    assert (folder / f"{Path(CARDS[0]).stem}.{suffix}").read_text().startswith(begin)


def test_a_file_that_cannot_be_written_is_one_that_failed(
    server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / f"{Path(CARDS[0]).stem}.txt").mkdir()
    result = asr("transcribe", *CARDS, "--output-dir", str(tmp_path), url=server.url)
    assert result.exit_code == 1
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([CARDS[0], CARDS[1], "--format", "srt"], "needs --output-dir"),
        ([CARDS[0], "--output-dir", CARDS[1]], f"--output-dir {CARDS[1]}: File exists"),
        (["a/x.wav", "b/x.mp3", "--output-dir", "out"], "2 of the files would be written to"),
        ([CARDS[0], "--channel", "left"], "--channel left"),
        ([CARDS[0], "--timeout", "0"], "timeout_s"),
        ([CARDS[0], "--url", "http://localhost:1"], "HOST:PORT"),
        ([CARDS[0], "--concurrency", "0"], "concurrency"),
        ([CARDS[0], "--format", "doc"], "format"),
        ([], "files"),
    ],
)
def test_wrong_arguments_are_one_clear_matter(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = asr("transcribe", *arguments)
    assert result.exit_code == 2
    # Older versions of typer write the argument as FILES.
    assert words.lower() in result.stderr.lower()
    assert list(tmp_path.iterdir()) == []


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    odd = tmp_path / "talk.txt"
    odd.write_bytes(Path(CARDS[0]).read_bytes())
    result = asr("transcribe", str(odd), "--output-dir", str(tmp_path))
    assert result.exit_code == 2
    assert odd.read_bytes() == Path(CARDS[0]).read_bytes()


def test_an_unreachable_server(server: FakeServer) -> None:
    url = server.url
    server.stop()
    # Less than what a server that cannot be reached is waited for.
    result = asr("transcribe", CARDS[0], "--timeout", "1.5", url=url)
    assert result.exit_code == 1
    waiting, *_, failed = result.stderr.splitlines()
    assert waiting == f"asr: {url} cannot be reached, trying for 30 s"
    # The last try may be in flight when the time is over.
    assert "the server is unavailable" in failed or "did not end within its timeout" in failed


def test_progress_is_for_terminals_and_results_are_not_mixed_with_it(server: FakeServer) -> None:
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        [*ASR, "transcribe", *CARDS, "--url", server.url],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(stderr)
    shown = bytearray()
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:
        pass  # The other end of a terminal closes so.
    finally:
        os.close(terminal)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"3/3" in shown
    assert b"RTFx" in shown
    assert b"0 failed" in shown
    assert len(output.splitlines()) == 3
    assert b"transcribing" not in output


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        *(("transcribe", flag) for flag in ("--decoder", "--timestamps", "--format", "--encoding")),
        *(("stream", flag) for flag in ("--decoder", "--format", "--encoding")),
    ],
)
def test_a_wrong_choice_is_named_in_plain_words(command: str, flag: str) -> None:
    result = asr(command, CARDS[0], flag, "bream")
    assert result.exit_code == 2
    assert f"Invalid value for '{flag}': 'bream' is not one of '" in result.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_there_is_one_line(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from asr_client.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"asr: {missing} is not installed; in the project's folder: pip install './client_sdk[cli]'"
    ]


@pytest.fixture
def supervisor() -> Iterator[tuple[str, dict[str, int]]]:
    """An address that answers /readyz, and what it answers."""
    answer = {"status": 200}

    class Readyz(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"] if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"healing": ["transcribe"]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Readyz)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", answer
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def test_status_of_a_ready_server(
    server: FakeServer, supervisor: tuple[str, dict[str, int]]
) -> None:
    result = asr("status", "--health-url", supervisor[0], url=server.url)
    assert result.exit_code == 0
    *questions, supervised, recording = result.stdout.splitlines()
    assert questions == [
        f"server      {server.url}  live, ready  triton 0.0.0-fake",
        "transcribe  ready  version 1",
        "wav2vec2    ready  version 1",
        "serves      fake 1, fp32, greedy and beam, fingerprint fake",
    ]
    assert re.fullmatch(r"recording   answered in \d+ ms", recording)
    assert supervised == 'supervisor  ready  {"healing": ["transcribe"]}'


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({}, "a model that this server does not name"),
        (
            {
                "model_id": "mms",
                "model_revision": "1a",
                "precision": "int8",
                "languages": "eng,deu",
                "decoders": "greedy,beam",
                "language_model": "four.arpa",
                "fingerprint": "0f",
            },
            "mms 1a, int8, greedy and beam, language model four.arpa, 2 languages, fingerprint 0f",
        ),
    ],
)
def test_status_names_what_is_served(
    server: FakeServer, parameters: dict[str, str], line: str
) -> None:
    server.parameters = parameters
    result = asr("status", url=server.url)
    assert result.exit_code == 0
    assert f"serves      {line}\n" in result.stdout


def test_status_of_a_server_that_hangs(server: FakeServer) -> None:
    server.hung = True
    result = asr("status", "--timeout", "0.5", url=server.url)
    assert result.exit_code == 1
    _, transcribe, wav2vec2, *_, recording = result.stdout.splitlines()
    assert (transcribe, wav2vec2) == (
        "transcribe  ready  version 1",
        "wav2vec2    ready  version 1",
    )
    assert recording == "recording   no answer within 0.5 s: the server hangs or is overloaded"


def test_status_of_a_server_that_is_busy(server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL)
    result = asr("status", url=server.url)
    assert "recording   the server is busy: Exceeds maximum queue size" in result.stdout


def test_status_of_a_server_that_fails(server: FakeServer) -> None:
    server.fail(Fault.INTERNAL_ERROR)
    result = asr("status", url=server.url)
    assert result.exit_code == 1
    assert "recording   the server failed: INTERNAL_ERROR" in result.stdout


def test_status_of_a_server_that_heals(
    server: FakeServer, supervisor: tuple[str, dict[str, int]]
) -> None:
    url, answer = supervisor
    answer["status"] = 503
    result = asr("status", "--health-url", url, url=server.url)
    assert result.exit_code == 1
    assert 'supervisor  not ready  {"healing": ["transcribe"]}' in result.stdout.splitlines()


def test_what_is_no_health_endpoint_is_said_and_not_taken_for_one(
    server: FakeServer, supervisor: tuple[str, dict[str, int]]
) -> None:
    url, answer = supervisor
    answer["status"] = 404
    result = asr("status", "--health-url", url, url=server.url)
    assert result.exit_code == 1
    assert f"supervisor  {url}  HTTP Error 404: Not Found" in result.stdout.splitlines()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_in_another_protocol, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = asr("status", "--health-url", url, url=server.url)
        thread.join()
    assert result.exit_code == 1
    assert f"supervisor  {url}  not an HTTP server" in result.stdout


def _answer_in_another_protocol(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"220 ready for mail\r\n")


def test_status_of_a_server_that_drains_or_is_gone(server: FakeServer) -> None:
    server.ready = False
    draining = asr("status", url=server.url)
    assert draining.exit_code == 1
    assert "transcribe  not ready" in draining.stdout
    url = server.url
    server.stop()
    gone = asr("status", "--health-url", "http://127.0.0.1:9", url=url)
    assert gone.exit_code == 1
    assert "unavailable" in gone.stdout
    assert "supervisor  http://127.0.0.1:9" in gone.stdout
    assert asr("status", url="http://x").exit_code == 2


def test_a_busy_server_is_asked_again(server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL)
    assert asr("transcribe", CARDS[0], url=server.url).exit_code == 0
    assert len(server.requests) == 2
