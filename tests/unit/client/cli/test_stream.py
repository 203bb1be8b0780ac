"""`asr stream`: standard input and files, on a pipe and on a terminal."""

from __future__ import annotations

import io
import json
import math
import os
import pty
import signal
import struct
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from asr_client import Interim, paced
from asr_client._stream.wav import read_header
from asr_client.cli.commands import app
from asr_client.cli.live_screen import TextScreen
from asr_client.cli.live_source import open_source
from asr_client.cli.stream import stream
from asr_client.testing import FakeServer, Fault
from tests.support.client.waiting import wait_until

RATE = 8000
ASR = [sys.executable, "-c", "from asr_client.cli import main; main()"]
SPEECH = np.concatenate(
    [np.full(round(seconds * RATE), level, np.int16) for seconds, level in
     ((0.3, 0), (1.0, 9000), (0.8, 0), (0.9, 5000))]
)  # fmt: skip

assert stream is not None


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_URL", raising=False)


@pytest.fixture
def talking(server: FakeServer) -> FakeServer:
    server.text = "one two\nthree"
    return server


def wav(samples: Any = SPEECH) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def endless(size: int) -> bytes:
    """A WAV as a program writes it to a pipe."""
    data = bytearray(wav())
    data[40:44] = size.to_bytes(4, "little")
    return bytes(data)


def asr(server: FakeServer, *arguments: str, stdin: bytes = b"") -> Result:
    command = ["stream", *arguments, "--url", server.url]
    return CliRunner().invoke(app, command, input=stdin)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 2 * len(SPEECH)])
def test_a_wav_on_standard_input(talking: FakeServer, size: int) -> None:
    result = asr(talking, "-", stdin=endless(size))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "one two\nthree\n", "")


def test_raw_samples_on_standard_input(talking: FakeServer) -> None:
    stdin = (SPEECH / 32768).astype("<f4").tobytes()
    flags = ("--sample-rate", str(RATE), "--channels", "1", "--encoding", "pcm_f32le")
    result = asr(talking, "-", *flags, stdin=stdin)
    assert (result.exit_code, result.stdout) == (0, "one two\nthree\n")


def test_a_file_in_json_and_as_subtitles(talking: FakeServer, tmp_path: Path) -> None:
    file, subtitles = tmp_path / "a.wav", tmp_path / "a.srt"
    file.write_bytes(wav())
    result = asr(talking, str(file), "--format", "json", "--no-interim", "--srt", str(subtitles))
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["type"], line["text"], line["reason"]) for line in lines] == [
        ("segment", "one two", "pause"),
        ("segment", "three", "end"),
    ]
    assert subtitles.read_text().startswith("1\n00:00:00,300 --> ")
    assert "three" in subtitles.read_text()


def test_in_real_time_there_are_interims(talking: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(wav())
    result = asr(talking, str(file), "--format", "json", "--realtime")
    kinds = [json.loads(line)["type"] for line in result.stdout.splitlines()]
    assert kinds.count("segment") == 2
    assert "interim" in kinds


def test_on_a_terminal_the_last_line_is_renewed(talking: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(wav())
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        [*ASR, "stream", str(file), "--realtime", "--url", talking.url], stdout=inner
    )
    os.close(inner)
    shown = b""
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:
        # Linux reports the end of a terminal so.
        pass
    finally:
        os.close(terminal)
    assert process.wait(60) == 0
    assert b"\r\x1b[2Kone" in shown
    assert b"\r\x1b[2Kone two\r\n" in shown
    assert shown.endswith(b"three\r\n")


def test_ctrl_c_ends_the_audio_and_everything_becomes_final(talking: FakeServer) -> None:
    flags = ["--sample-rate", str(RATE), "--url", talking.url]
    process = subprocess.Popen(
        [*ASR, "stream", "-", *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(SPEECH[: 2 * RATE].tobytes())
    process.stdin.flush()
    wait_until(lambda: bool(talking.requests))
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    assert (process.returncode, stdout.splitlines()[0]) == (0, b"one two")


def test_ctrl_c_within_a_frame_loses_nothing(talking: FakeServer) -> None:
    flags = ["--sample-rate", str(RATE), "--channels", "3", "--url", talking.url]
    process = subprocess.Popen(
        [*ASR, "stream", "-", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(np.repeat(SPEECH[: 2 * RATE], 3).tobytes() + b"\0")
    process.stdin.flush()
    wait_until(lambda: bool(talking.requests))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr, stdout.splitlines()[0]) == (0, b"", b"one two")


def test_ctrl_c_may_come_at_any_moment() -> None:
    # In a process of its own: the signal would end the tests where it is not handled.
    script = """
import signal
from asr_client.cli.live_source import CtrlC

def read():
    signal.raise_signal(signal.SIGINT)
    raise AssertionError("the handler raises")

with CtrlC() as ctrl_c:
    assert ctrl_c.during(read) == b""
    assert ctrl_c.during(lambda: b"more") == b""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("raised")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"raised\n", b"")


def test_words_that_do_not_become_final_are_not_lost(
    talking: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, subtitles = tmp_path / "a.wav", tmp_path / "a.srt"
    file.write_bytes(wav(np.concatenate([SPEECH, np.full(8 * RATE, 5000, np.int16)])))

    def stop(event: Any) -> None:
        show(event)
        if isinstance(event, Interim) and event.text == "three":
            talking.fail(Fault.BAD_OPTIONS, times=9)

    screen = TextScreen()
    show = screen.show
    monkeypatch.setattr(screen, "show", stop)
    monkeypatch.setattr("asr_client.cli.stream.TextScreen", lambda: screen)
    result = asr(talking, str(file), "--realtime", "--srt", str(subtitles))
    assert (result.exit_code, result.stdout) == (1, "one two\n")
    assert result.stderr.splitlines()[-1] == "asr: not final: three"
    assert "one two" in subtitles.read_text()


def test_a_server_that_is_away_is_told_once(talking: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(wav())
    talking.fail(Fault.CONNECTION_LOST, times=2)
    result = asr(talking, str(file), "--realtime")
    assert (result.exit_code, result.stdout) == (0, "one two\nthree\n")
    away, back = result.stderr.splitlines()
    assert away.endswith("Socket closed; the audio is kept meanwhile")
    assert back == f"asr: {talking.url} answers again"


def test_an_interim_stays_below_a_note(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    screen = TextScreen()
    screen.show(Interim(index=0, start_s=0.0, end_s=1.0, text="one", stable_text="", words=()))
    screen.note("away")
    shown, noted = capsys.readouterr()
    assert (shown.split("\r\x1b[2K"), noted) == (["", "one", "", "one"], "asr: away\n")


def test_a_terminal_is_no_audio(talking: FakeServer) -> None:
    terminal, inner = pty.openpty()
    command = [*ASR, "stream", "-", "--sample-rate", "8000", "--url", talking.url]
    process = subprocess.Popen(command, stdin=inner, stderr=subprocess.PIPE)
    _, stderr = process.communicate(timeout=60)
    os.close(terminal)
    os.close(inner)
    assert (process.returncode, b"pipe audio into it" in stderr) == (2, True)


def test_audio_that_ends_within_a_frame_has_its_subtitles(
    talking: FakeServer, tmp_path: Path
) -> None:
    subtitles = tmp_path / "a.srt"
    stdin = SPEECH.tobytes() + b"\0"
    result = asr(talking, "-", "--sample-rate", str(RATE), "--srt", str(subtitles), stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "one two\nthree\n")
    assert "three" in subtitles.read_text()


def test_a_large_wav_on_standard_input(talking: FakeServer) -> None:
    result = asr(talking, "-", stdin=b"RF64" + endless(0xFFFFFFFF)[4:])
    assert (result.exit_code, result.stdout) == (0, "one two\nthree\n")


def test_a_stream_that_fails(talking: FakeServer) -> None:
    talking.fail(Fault.BAD_OPTIONS)
    result = asr(talking, "-", stdin=wav())
    assert result.exit_code == 1
    assert result.stderr.startswith("asr: the server refused the options: BAD_OPTIONS")


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (("-",), b"\0\0" * 9, "raw samples need --sample-rate"),
        (("-", "--sample-rate", "8000"), wav(), "not for a WAV"),
        (("-", "--sample-rate", "8000"), b"fLaC" + wav(), "makes WAV of other files"),
        (("-", "--realtime"), wav(), "--realtime is for a WAV file"),
        (("-", "--channel", "separate"), wav(), "a stream for each channel"),
        (("-",), wav()[:30], "ends within its header"),
        (("-", "--sample-rate", "8000"), b"\0\0\0", "1 bytes are left"),
    ],
)
def test_wrong_usage(
    talking: FakeServer, arguments: tuple[str, ...], stdin: bytes, words: str
) -> None:
    result = asr(talking, *arguments, stdin=stdin)
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_a_file_that_is_missing(talking: FakeServer) -> None:
    result = asr(talking, "nowhere.wav")
    assert (result.exit_code, result.stderr) == (
        1, "asr: nowhere.wav: No such file or directory\n"
    )  # fmt: skip


def test_a_header_is_found_in_pieces() -> None:
    data = io.BytesIO(wav())
    form = read_header(lambda count: data.read(min(count, 3)))
    assert (form.encoding, form.sample_rate, form.channels) == ("pcm_s16le", RATE, 1)
    assert form.data_bytes == 2 * len(SPEECH)


def test_an_extensible_wav_with_a_list_before_the_samples() -> None:
    guid = struct.pack("<H", 3) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, 2, RATE, 8 * RATE, 8, 32, 22, 32, 0) + guid
    chunks = b"fmt " + len(fmt).to_bytes(4, "little") + fmt + b"LIST\3\0\0\0abc\0" + b"data\0\0\0\0"
    source = open_source(
        io.BytesIO(b"RIFF\0\0\0\0WAVE" + chunks), sample_rate=None, channels=None, encoding=None
    )
    assert (source.encoding, source.channels, source.data_bytes) == ("pcm_f32le", 2, None)


@pytest.mark.parametrize(
    "wrong", [b"", b"RIFF", b"RIFF\0\0\0\0WAVX", b"RIFF\0\0\0\0WAVEdata\0\0\0\0",
              b"RIFF\0\0\0\0WAVEfmt \4\0\0\0\1\0\1\0"],
)  # fmt: skip
def test_a_broken_header_is_a_value_error(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="WAV"):
        read_header(io.BytesIO(wrong).read)


def test_paced_audio(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(wav())
    played = paced(file, chunk_s=0.25, speed=math.inf)
    assert (played.sample_rate, played.channels, played.encoding) == (RATE, 1, "pcm_s16le")
    assert b"".join(played) == SPEECH.tobytes()
    assert len(next(iter(played))) == 2 * RATE // 4
    floats = paced(SPEECH.astype(np.float64), sample_rate=RATE, speed=math.inf)
    assert floats.encoding == "pcm_f32le"
    for wrong in ({"chunk_s": 0.0}, {"speed": 0.0}, {"sample_rate": 8000}):
        with pytest.raises(ValueError, match=r"\w"):
            paced(file, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs sample_rate"):
        paced(SPEECH)
