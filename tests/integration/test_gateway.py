"""One way through the real chain: OpenAI's package and curl, the gateway, asr-server."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from asr_client import Client
from tests.support.gateway.running import RunningGateway, running
from tests.support.recordings import FOLDER
from tools.local_server import LocalServer

pytestmark = pytest.mark.server

RECORDING = FOLDER / "go-forward-ten-meters.wav"
EXAMPLES = Path(__file__).parents[2] / "examples" / "gateway"


@pytest.fixture(scope="module")
def gateway(server: LocalServer) -> Iterator[RunningGateway]:
    with running(server.url) as started:
        yield started


@pytest.fixture(scope="module")
def caller(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def direct(server: LocalServer) -> Iterator[Client]:
    with Client(server.url, timeout_s=60) as client:
        yield client


def test_the_answer_is_that_of_the_sdk(caller: openai.OpenAI, direct: Client):
    heard = caller.audio.transcriptions.create(
        model="whisper-1",
        file=RECORDING,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    # The demo checkpoint has a language model.
    expected = direct.transcribe(RECORDING, decoder="beam")
    assert heard.text == expected.text
    assert heard.duration == expected.duration_s
    # OpenAI's package keeps the field that it does not know.
    assert [(w.word, w.start, w.end, w.confidence) for w in heard.words or []] == [  # type: ignore[attr-defined]
        (word.text, word.start_s, word.end_s, word.confidence) for word in expected.words
    ]
    assert "".join(segment.text for segment in heard.segments or []) == expected.text


def test_hot_words_are_those_of_the_beam(caller: openai.OpenAI, direct: Client):
    heard = caller.audio.transcriptions.create(
        model="whisper-1", file=RECORDING, keywords=["meters"]
    )
    assert heard.text == direct.transcribe(RECORDING, decoder="beam", hotwords=["meters"]).text


def test_a_stream_joins_to_the_text(caller: openai.OpenAI, direct: Client):
    *deltas, done = caller.audio.transcriptions.create(
        model="whisper-1", file=RECORDING, stream=True
    )
    assert done.type == "transcript.text.done"
    joined = "".join(event.delta for event in deltas if event.type == "transcript.text.delta")
    assert joined == done.text == direct.transcribe(RECORDING, decoder="beam").text


def test_the_served_model(caller: openai.OpenAI, direct: Client):
    ids = [model.id for model in caller.models.list()]
    assert ids == [direct.transcribe(RECORDING).model.id, "whisper-1"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"language": "de"}, "language"), ({"keywords": ["€"]}, "keywords")],
)
def test_what_the_server_refuses_names_the_field(
    caller: openai.OpenAI, fields: dict[str, str], param: str
):
    with pytest.raises(openai.BadRequestError) as refused:
        caller.audio.transcriptions.create(model="whisper-1", file=RECORDING, **fields)  # type: ignore[call-overload]
    assert refused.value.param == param


def test_what_is_no_audio_is_the_files_fault(caller: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        caller.audio.transcriptions.create(model="whisper-1", file=FOLDER / "transcripts.tsv")
    assert (refused.value.param, refused.value.code) == ("file", "unsupported_format")


def test_it_is_ready_and_logs(gateway: RunningGateway, direct: Client):
    assert gateway.http.get("/readyz").status_code == 200
    newest = gateway.http.get("/v1/recognitions", params={"limit": 1}).json()["data"][0]
    assert newest["key"] == "anonymous"
    succeeded = {"limit": 1, "outcome": "succeeded"}
    [newest] = gateway.http.get("/v1/recognitions", params=succeeded).json()["data"]
    assert newest["fingerprint"] == direct.info().fingerprint


def test_a_cached_answer_is_the_first_one_again(server: LocalServer):
    with running(server.url, cache_bytes=1_000_000) as gateway:
        first, second = [
            gateway.http.post(
                "/v1/audio/transcriptions",
                files={"file": RECORDING.read_bytes()},
                data={"model": "whisper-1", "response_format": "verbose_json"},
            )
            for _ in range(2)
        ]
    assert (first.headers["x-asr-cache"], second.headers["x-asr-cache"]) == ("miss", "hit")
    assert first.content == second.content


@pytest.mark.parametrize("example", ["openai_client.py", "curl.sh"])
def test_an_example_runs(gateway: RunningGateway, direct: Client, example: str):
    program = [sys.executable, EXAMPLES / example, RECORDING, "--url", gateway.url]
    if example == "curl.sh":
        assert shutil.which("curl"), "curl is needed"
        program = ["bash", EXAMPLES / example, RECORDING, gateway.url]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = direct.transcribe(RECORDING, decoder="beam").text
    assert done.stdout.startswith(f"{text}\n")
    assert done.stdout.count(text) >= 2


@pytest.mark.parametrize("example", ["jobs.sh", "jobs.py"])
def test_an_example_of_a_job_runs(gateway: RunningGateway, direct: Client, example: str):
    program = [sys.executable, EXAMPLES / example, RECORDING, "--url", gateway.url]
    if example == "jobs.sh":
        program = ["bash", EXAMPLES / example, RECORDING, gateway.url]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The server has a language model, so `--decoder auto` is the beam, for jobs too.
    text = direct.transcribe(RECORDING, decoder="beam").text
    assert done.stdout.startswith(f"{text}\n")
