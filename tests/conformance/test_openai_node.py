"""OpenAI's package from npm, unmodified. Its Python twin is tested by tests/unit/gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asr_client.testing import FakeServer, Fault
from tests.conformance import environment
from tests.support.gateway.running import RunningGateway, uploads
from tests.support.recordings import FOLDER

pytestmark = pytest.mark.conformance

RECORDING = FOLDER / "cards-001-ten-of-clubs.wav"


def run(program: Path, *arguments: str | Path) -> str:
    """Run a program beside the package: Node.js looks for packages where the program lies."""
    copy = environment.node_folder() / program.name
    shutil.copy(program, copy)
    command = [environment.node(), copy, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def found(gateway: RunningGateway) -> dict[str, Any]:
    program = Path(__file__).with_name("openai_node.mjs")
    result: dict[str, Any] = json.loads(run(program, gateway.url, RECORDING))
    return result


def test_every_call(found: dict[str, Any], fake: FakeServer):
    text = "seven of clubs"
    assert (found["json"]["text"], found["buffer"]["text"]) == (text, text)
    assert found["text"] == f"{text}\n"
    assert found["srt"].startswith("1\n00:00:00,000 --> ")
    assert found["vtt"].startswith("WEBVTT\n\n00:00:00.000 --> ")
    verbose = found["verbose"]
    assert [word["word"] for word in verbose["words"]] == text.split()
    assert "".join(segment["text"] for segment in verbose["segments"]) == verbose["text"] == text

    *deltas, done = found["events"]
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"] == text

    assert found["requestId"] == "r-9"
    assert found["models"] == ["fake", "whisper-1"]
    assert found["model"]["id"] == "whisper-1"
    assert found["many"] == [text] * 16
    assert any(b"clubs" in request.options for request in uploads(fake))

    failures = found["failures"]
    assert all(failure["id"] for failure in failures.values())
    seen = {name: (f["kind"], f["param"], f["code"]) for name, f in failures.items()}
    assert seen == {
        "model": ("NotFoundError", "model", "model_not_found"),
        "retrieve": ("NotFoundError", "model", "model_not_found"),
        "prompt": ("BadRequestError", "prompt", "unsupported_parameter"),
        "temperature": ("BadRequestError", "temperature", "invalid_value"),
        "streamedText": ("BadRequestError", "stream", "invalid_value"),
        "audio": ("BadRequestError", "file", "unsupported_format"),
    }


def test_the_example(gateway: RunningGateway, fake: FakeServer):
    example = environment.EXAMPLE / "openai_client.mjs"
    printed = run(example, RECORDING, "--url", gateway.url).splitlines()
    assert printed[0] == printed[-2] == "seven of clubs"
    assert [line.split()[-1] for line in printed[1:4]] == ["seven", "of", "clubs"]
    assert printed[-1].startswith("refused because of the field prompt: ")


def test_the_package_tries_again_when_the_server_was_busy(
    gateway: RunningGateway, fake: FakeServer, tmp_path: Path
):
    # More failures than the SDK of the gateway has retries for.
    fake.fail(Fault.QUEUE_FULL, times=12)
    program = tmp_path / "retries.mjs"
    program.write_text(
        """
        import fs from "node:fs";
        import OpenAI, { toFile } from "openai";
        const [url, path] = process.argv.slice(2);
        const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 8 });
        const file = await toFile(fs.readFileSync(path), "recording.wav");
        const heard = await client.audio.transcriptions.create({ model: "whisper-1", file });
        console.log(heard.text);
        """
    )
    assert run(program, gateway.url, RECORDING) == "seven of clubs\n"
    route = "/v1/audio/transcriptions"
    assert gateway.metric("asr_gateway_requests_total", route=route, status="503") >= 1


def test_the_lock_file_names_no_registry():
    lock = (environment.EXAMPLE / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in lock
    assert "http" not in lock
    package = json.loads((environment.EXAMPLE / "package.json").read_text(encoding="utf-8"))
    assert json.loads(lock)["packages"][""]["dependencies"] == package["dependencies"]
    assert (
        json.loads(lock)["packages"]["node_modules/openai"]["version"]
        == (package["dependencies"]["openai"])
    )
