"""Every example runs against the real server and gets the SDK's transcript."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from asr_client import Client
from asr_client.testing import FakeServer, Fault
from tests.support import recordings
from tools.local_server import free_ports

EXAMPLES = Path(__file__).parents[2] / "examples"
PYTHON = EXAMPLES / "python"
RECORDING = recordings.FOLDER / "go-forward-ten-meters.wav"
NOT_AUDIO = recordings.FOLDER / "transcripts.tsv"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)


@pytest.fixture(scope="module")
def text(server_url: str) -> str:
    """The server's transcript of the recording; the words depend on the checkpoint."""
    with Client(server_url, timeout_s=60) as client:
        transcribed = client.transcribe(RECORDING).text
    assert transcribed
    return transcribed


def run(
    *command: str | Path, url: str, cwd: Path, status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"ASR_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def script(name: str, *args: str | Path, url: str, cwd: Path, status: int = 0) -> str:
    """Run a Python example somewhere else than beside it, with the address in ASR_URL."""
    done = run(sys.executable, PYTHON / name, *args, url=url, cwd=cwd, status=status)
    assert done.stderr == ""
    return done.stdout


def test_the_examples_are_numbered_and_each_has_a_test():
    source = Path(__file__).read_text(encoding="utf-8")
    names = sorted(path.name for path in PYTHON.glob("*.py"))
    assert [name[:3] for name in names] == [f"{number:02d}_" for number in range(1, len(names) + 1)]
    for name in names:
        assert f'"{name}"' in source
        assert f"`{name}`" in README


@pytest.mark.server
def test_a_file(server_url: str, text: str, tmp_path: Path):
    # The flag wins over the variable.
    args = (RECORDING, "--url", server_url)
    lines = script("01_file.py", *args, url="127.0.0.1:9", cwd=tmp_path).splitlines()
    assert lines[0] == text
    assert len(lines) == 2 + len(text.split())
    assert lines[-1].startswith("2.79 s")


@pytest.mark.server
def test_blocks_of_a_microphone(server_url: str, tmp_path: Path):
    words = recordings.pcm("go-forward-ten-meters.wav")
    pause = np.zeros(16_000, np.int16)
    file = tmp_path / "two.wav"
    file.write_bytes(recordings.wav(np.concatenate([pause, words, pause, words])))
    lines = script("02_microphone.py", file, url=server_url, cwd=tmp_path).splitlines()
    assert len(lines) == 2
    # An utterance and the half second that ended it, without the second of silence before it.
    assert all(2 < float(line.split()[0]) < 3.5 for line in lines)


@pytest.mark.server
@pytest.mark.parametrize("name", ["08_live.py", "09_live_stubs.py"])
def test_live(server_url: str, tmp_path: Path, name: str):
    words = recordings.pcm("go-forward-ten-meters.wav")
    pause = np.zeros(16_000, np.int16)
    file = tmp_path / "two.wav"
    file.write_bytes(recordings.wav(np.concatenate([words, pause, words])))
    lines = script(name, file, url=server_url, cwd=tmp_path).splitlines()
    finals = [line for line in lines if "…" not in line]
    assert len(finals) == 2
    assert len(lines) > 4
    first, second = (float(line.split()[0]) for line in finals)
    assert first < 1
    assert 3 < second < 5


@pytest.mark.server
def test_many_and_one_that_fails(server_url: str, text: str, tmp_path: Path):
    files = [RECORDING, NOT_AUDIO, *sorted(recordings.FOLDER.glob("cards-*.wav"))]
    done = script("03_many.py", *files, url=server_url, cwd=tmp_path, status=1)
    lines = dict(line.split(": ", 1) for line in done.splitlines())
    assert set(lines) == {str(file) for file in files}
    assert lines[str(RECORDING)] == text
    assert lines[str(NOT_AUDIO)].startswith("FAILED")
    assert sum(line.startswith("FAILED") for line in lines.values()) == 1


@pytest.mark.server
def test_subtitles(server_url: str, text: str, tmp_path: Path):
    blocks = script("04_subtitles.py", RECORDING, url=server_url, cwd=tmp_path).split("\n\n")[:-1]
    assert " ".join(block.split("\n", 2)[2] for block in blocks) == text
    for number, block in enumerate(blocks, 1):
        count, times = block.splitlines()[:2]
        assert count == str(number)
        start, end = re.findall(r"00:00:(\d\d),(\d{3})", times)
        assert start < end


@pytest.mark.server
def test_errors(server_url: str, text: str, tmp_path: Path):
    lines = script("05_errors.py", RECORDING, url=server_url, cwd=tmp_path).splitlines()
    advice = dict(line.split(": ", 1) for line in lines)
    wanted = {
        "a good file": repr(text),
        "not audio": "UNSUPPORTED_FORMAT",
        "a channel too many": "BAD_OPTIONS: channel is 7",
        "no such file": "cannot read the file",
        "samples without a rate": "nothing was sent",
        "a millisecond": "more time",
        "nobody there": "asked 2 times",
    }
    assert set(advice) == set(wanted)
    for what, words in wanted.items():
        assert words in advice[what]


def test_own_tests_pass_without_a_server(tmp_path: Path):
    # A copy outside the tree: these tests must not use this project's settings.
    shutil.copy(PYTHON / "06_your_tests.py", tmp_path)
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "06_your_tests.py")
    assert "5 passed" in run(*pytest_, url="127.0.0.1:9", cwd=tmp_path).stdout


@pytest.fixture
def endpoint(server_url: str, tmp_path: Path) -> Iterator[str]:
    """Where the endpoint of the example listens."""
    (port,) = free_ports(1)
    log_path = tmp_path / "endpoint.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(PYTHON / "07_fastapi.py"), f"--port={port}"],
            cwd=tmp_path,
            env=os.environ | {"ASR_URL": server_url},
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while http(f"http://127.0.0.1:{port}/readyz")[0] != 200:
                assert process.poll() is None, log_path.read_text()
                assert time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def http(url: str, body: bytes | None = None) -> tuple[int, dict[str, object]]:
    """Status and JSON; (0, {}) if nothing listens."""
    # No proxy: the address is this machine's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, body, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


@pytest.mark.server
def test_an_endpoint(endpoint: str, text: str):
    status, answer = http(f"{endpoint}/transcripts", RECORDING.read_bytes())
    assert (status, answer["text"]) == (200, text)
    status, answer = http(f"{endpoint}/transcripts", NOT_AUDIO.read_bytes())
    assert status == 422
    assert "UNSUPPORTED_FORMAT" in str(answer["detail"])
    status, answer = http(f"{endpoint}/transcripts", b"x" * 50_000_001)
    assert status == 413


@pytest.fixture(scope="module")
def node_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled TypeScript example, in a copy."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("examples")
    version = run("node", "--version", url="", cwd=folder).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"the example needs node 20, this is {version}")
    ignore = shutil.ignore_patterns("node_modules", "dist")
    for name in ("proto", "node"):
        shutil.copytree(EXAMPLES / name, folder / name, ignore=ignore)
    options = (
        "--ignore-scripts",
        "--prefer-offline",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    )
    try:
        run("npm", "ci", *options, url="", cwd=folder / "node")
    except AssertionError as error:
        if re.search(r"code (ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT)", str(error)):
            pytest.skip("the npm registry cannot be reached")
        raise
    run("npm", "run", "build", url="", cwd=folder / "node")
    return folder / "node"


@pytest.mark.server
def test_typescript(node_example: Path, server_url: str, text: str):
    def call(*args: str | Path, status: int) -> subprocess.CompletedProcess[str]:
        return run("node", "dist/main.js", *args, url=server_url, cwd=node_example, status=status)

    lines = call(RECORDING, status=0).stdout.splitlines()
    assert lines[0] == text
    assert " ".join(line.split()[2] for line in lines[1:]) == text
    error = json.loads(call(NOT_AUDIO, status=1).stderr)
    assert (error["status"], error["code"]) == ("INVALID_ARGUMENT", "UNSUPPORTED_FORMAT")
    error = json.loads(call(RECORDING, "--timeout=0.001", status=1).stderr)
    assert (error["status"], error["code"]) == ("DEADLINE_EXCEEDED", None)
    (port,) = free_ports(1)
    error = json.loads(call(RECORDING, f"--url=127.0.0.1:{port}", status=1).stderr)
    assert (error["status"], error["code"]) == ("UNAVAILABLE", None)


@pytest.mark.server
def test_typescript_streams(node_example: Path, server_url: str):
    command = ("node", "dist/live.js", RECORDING)
    lines = run(*command, url=server_url, cwd=node_example).stdout.splitlines()
    finals = [line for line in lines if "…" not in line]
    assert len(finals) == 1
    assert len(lines) > 1
    assert float(finals[0].split()[0]) < 1


def test_typescript_makes_the_next_look_after_one_that_failed(node_example: Path, tmp_path: Path):
    file = tmp_path / "short.wav"
    file.write_bytes(recordings.wav(np.full(4000, 10_000, np.int16)))

    def play(server: FakeServer, status: int) -> subprocess.CompletedProcess[str]:
        command = ("node", "dist/live.js", file)
        return run(*command, url=server.url, cwd=node_example, status=status)

    with FakeServer("hello") as server:
        # Looks in the middle, as many as the machine manages, then those at the end.
        for fault in (Fault.DEAD_FRONT, Fault.QUEUE_FULL, Fault.CONNECTION_LOST):
            server.fail(fault)
        assert play(server, 0).stdout.splitlines()[-1] == "   0.00 s  hello"
        ends = [json.loads(request.options)["end"] for request in server.requests]
        assert len(ends) >= 4
        assert ends == sorted(ends)
        assert (ends[0], ends[-1]) == (False, True)
        server.fail(Fault.DEAD_FRONT, times=2)
        assert json.loads(play(server, 1).stderr)["status"] == "INTERNAL"
        server.fail(Fault.BAD_OPTIONS)
        assert json.loads(play(server, 1).stderr)["code"] == "BAD_OPTIONS"


def test_the_lock_file_names_no_host():
    lock = (EXAMPLES / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    package = json.loads((EXAMPLES / "node" / "package.json").read_text(encoding="utf-8"))
    for group in ("dependencies", "devDependencies"):
        assert package[group] == json.loads(lock)["packages"][""][group]
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package[group].values())


def described(descriptor: Any) -> Iterator[tuple[str, str, int]]:
    """(message, field, number) of a message and those inside it."""
    for field in descriptor.fields:
        yield descriptor.full_name, field.name, field.number
    for nested in descriptor.nested_types:
        if not nested.GetOptions().map_entry:
            yield from described(nested)


def written(proto: str) -> Iterator[tuple[str, str, int]]:
    """The same of the example's proto, in which a brace ends its line."""
    path = ["inference"]
    for line in re.sub(r"//.*", "", proto).splitlines():
        if opened := re.match(r"\s*(message|oneof|service) (\w+) \{$", line):
            path.append(opened[2] if opened[1] == "message" else "")
        elif line.strip() == "}":
            path.pop()
        elif field := re.match(r"\s*(?:repeated )?(?:[\w.]+|map<.+>) (\w+) = (\d+);", line):
            yield ".".join(filter(None, path)), field[1], int(field[2])


def test_the_proto_has_the_protocol_s_numbers():
    proto = (EXAMPLES / "proto" / "kserve.proto").read_text(encoding="utf-8")
    messages = service_pb2.DESCRIPTOR.message_types_by_name.values()
    known = {field for message in messages for field in described(message)}
    ours = set(written(proto))
    assert len(ours) > 20
    assert ours <= known
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for name, taken, given in re.findall(r"rpc (\w+)\((\w+)\) returns \((\w+)\)", proto):
        assert (methods[name].input_type.name, methods[name].output_type.name) == (taken, given)


@pytest.mark.parametrize("target", sorted(set(LINKS)))
def test_a_link_leads_somewhere(target: str):
    assert (EXAMPLES / target).exists()
