"""Faults that would end tritonserver 24.10, or leave calls unanswered, without the guard."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from asr_client import Client, EngineRestarting, RetryPolicy
from tests.integration.test_bad_input import CLIP, infer_request
from tests.support import recordings
from tests.support.server import metrics_page
from tests.support.server.dummy_server import (
    ASKED_AFTER_THE_ANSWER,
    DROPPED,
    DummyServer,
    dummy_server,
    wait_for,
)
from tests.support.server.long_recordings import long_recording
from tools.local_server import LocalServer, free_ports, local_server

pytestmark = pytest.mark.server

NO_RETRY = RetryPolicy(max_attempts=1)
REFUSAL = "class result not available for output due to unsupported type 'BYTES'"


def classification(output: str, count: int) -> service_pb2.ModelInferRequest:
    request = infer_request([CLIP], [b"{}"])
    request.outputs.add(name=output).parameters["classification"].int64_param = count
    return request


def test_no_classification_of_strings_harms_anybody(server: LocalServer):
    """100 such calls among as many good ones."""
    good = infer_request([CLIP], [b"{}"])
    odd = [classification(("TEXT", "RESULT")[i % 2], random.choice((1, 2**31))) for i in range(100)]
    with grpc.insecure_channel(server.url) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        calls = [(infer.future(one, timeout=120), infer.future(good, timeout=120)) for one in odd]
        texts = {fine.result().raw_output_contents[0] for _, fine in calls}
        assert {(bad.code(), bad.details()) for bad, _ in calls} == {
            (grpc.StatusCode.INVALID_ARGUMENT, REFUSAL)
        }
    assert len(texts) == 1


def test_in_a_stream_it_is_that_answer_s_error(server: LocalServer):
    requests = [classification("TEXT", 1), infer_request([CLIP], [b"{}"])]
    with grpc.insecure_channel(server.url) as channel:
        stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
        first, second = stream(iter(requests), timeout=60)
    errors = sorted([first.error_message, second.error_message])
    assert errors == ["", REFUSAL]


def test_numbers_have_their_classification(server: LocalServer):
    request = service_pb2.ModelInferRequest(model_name="wav2vec2")
    request.inputs.add(name="SAMPLES", datatype="FP32", shape=(1, 16_000))
    request.raw_input_contents.append(bytes(4 * 16_000))
    request.outputs.add(name="LOG_PROBS").parameters["classification"].int64_param = 3
    with grpc.insecure_channel(server.url) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)
    assert list(answer.outputs[0].shape) == [1, 3]


@pytest.fixture(scope="module")
def http_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory, http_port: int) -> Iterator[LocalServer]:
    """A server whose processes are stopped and killed; it serves HTTP too."""
    log_path = tmp_path_factory.mktemp("guard") / "server.log"
    flags = ("--frontends=2", "--precision=fp32", f"--http-port={http_port}")
    with log_path.open("wb") as log, local_server(*flags, log=log) as running:
        yield running
    assert "LD_PRELOAD" not in log_path.read_text(errors="replace")


def tritonserver(server: LocalServer) -> psutil.Process:
    children = psutil.Process(server.process.pid).children()
    (found,) = (child for child in children if child.name() == "tritonserver")
    return found


def test_tritonserver_alone_has_the_guard(own_server: LocalServer):
    triton = tritonserver(own_server)
    maps = [Path(f"/proc/{one.pid}/maps").read_text() for one in (triton, *triton.children())]
    assert ["tritonserver_guard" in loaded for loaded in maps] == [True, *[False] * 5]


@pytest.mark.parametrize("binary", [True, False])
def test_the_same_over_http(own_server: LocalServer, http_port: int, binary: bool):
    asked = {
        "inputs": [
            {"name": name, "datatype": "BYTES", "shape": [1, 1], "data": [value]}
            for name, value in (
                ("AUDIO", "no audio"),
                ("OPTIONS", '{"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1}'),
            )
        ],
        "outputs": [{"name": "TEXT", "parameters": {"classification": 1, "binary_data": binary}}],
    }
    for classified, status in ((1, 400), (0, 200)):
        asked["outputs"][0]["parameters"]["classification"] = classified
        request = urllib.request.Request(
            f"http://127.0.0.1:{http_port}/v2/models/transcribe/infer", json.dumps(asked).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == status
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == status
                assert json.loads(error.read())["error"] == REFUSAL


@pytest.mark.parametrize("kind", ["wav2vec2", "transcribe", "tritonserver"])
def test_a_process_that_stands_still_for_a_while_costs_latency_alone(
    own_server: LocalServer, kind: str
):
    """Each caller gets the words of its own recording, under constant load."""
    clips = [(recordings.FOLDER / name).read_bytes() for name in recordings.texts()]
    triton = tritonserver(own_server)
    stopped = triton if kind == "tritonserver" else own_server.stubs(kind)[0]
    with Client(own_server.url, timeout_s=120, retry=NO_RETRY) as client:
        texts = [client.transcribe(clip).text for clip in clips]
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(client.transcribe, clip) for clip in clips * 30]
            wait_for(lambda: sum(call.done() for call in calls) > 20)
            stopped.suspend()
            # Longer than the second after which the backend would take it for dead.
            time.sleep(2.5)
            stopped.resume()
            assert not all(call.done() for call in calls)
            assert [call.result().text for call in calls] == texts * 30
    assert tritonserver(own_server) == triton
    assert stopped.is_running()


def kill_a_front_at_work(server: LocalServer) -> None:
    """Waits until the first of the fronts has windows in flight, and kills it."""

    def windows() -> float:
        return metrics_page.value(server.metrics(), "asr_windows_in_flight", front="transcribe_0_0")

    wait_for(lambda: windows() > 0)
    named = [stub for stub in server.stubs("transcribe") if "transcribe_0_0" in stub.cmdline()]
    max(named, key=lambda stub: float(stub.create_time())).kill()


def test_the_calls_of_a_killed_front_end_with_an_error_that_is_sent_again(own_server: LocalServer):
    audio, _ = long_recording(120)
    with Client(own_server.url, timeout_s=120, retry=NO_RETRY) as client:

        def call() -> str:
            try:
                return client.transcribe(audio).text
            except EngineRestarting as error:
                return f"{error.status}: {error.server_message}"

        whole = call()
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(call) for _ in range(8)]
            kill_a_front_at_work(own_server)
            answers = {one.result() for one in calls}
    assert "INTERNAL: Stub process 'transcribe_0_0' is not healthy." in answers
    assert answers <= {whole, "INTERNAL: Stub process 'transcribe_0_0' is not healthy."}


def test_the_sdk_s_retries_hide_a_front_that_is_killed_at_work(own_server: LocalServer):
    audio, _ = long_recording(120)
    with Client(own_server.url, timeout_s=120) as client, ThreadPoolExecutor(8) as pool:
        whole = client.transcribe(audio).text
        calls = [pool.submit(client.transcribe, audio) for _ in range(8)]
        kill_a_front_at_work(own_server)
        assert [call.result().text for call in calls] == [whole] * 8


def unloaded(server: DummyServer) -> int:
    return server.log.read_text().count("successfully unloaded 'transcribe'")


def test_a_killed_front_s_calls_end_and_its_version_is_unloaded(tmp_path):
    with dummy_server(tmp_path) as server:
        calls = [server.call_in_background("transcribe", 3.0) for _ in range(6)]
        wait_for(lambda: server.begun("transcribe") == len(calls))
        victim = next(s for s in server.stubs("transcribe") if server.begun("transcribe", s.pid))
        victim.kill()
        answers = [call.result() for call in calls]
        failed = [str(answer) for answer in answers if isinstance(answer, Exception)]
        assert len(failed) == server.begun("transcribe", victim.pid)
        assert all("Stub process 'transcribe_0_" in words for words in failed)
        wait_for(lambda: unloaded(server) == 1)
        wait_for(lambda: len(server.stubs("transcribe")) == 2)
        assert server.stop() == 0
        assert server.leftovers() == []


def test_a_call_that_the_model_drops_is_an_error_and_an_answered_one_may_be_asked_about(tmp_path):
    with dummy_server(tmp_path) as server:
        for _ in range(4):
            with pytest.raises(InferenceServerException, match="dropped the call"):
                server.call("transcribe", DROPPED, timeout_s=20)
            assert server.call("transcribe", ASKED_AFTER_THE_ANSWER) > 0
        pid = server.triton().pid
        assert server.call("transcribe") > 0
        assert server.triton().pid == pid
        assert server.stop() == 0
