"""asr-server on the real tritonserver: ready, drained, stopped, killed; nothing is left behind."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import psutil
import pytest
import tritonclient.grpc as grpcclient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

from asr_backend.server.prepare.run_directory import NOT_READY
from tests.support.server.dummy_server import MODELS, DummyServer, dummy_server, wait_for

pytestmark = pytest.mark.server


def refusal(server: DummyServer) -> str:
    """The status that a new call fails with, or nothing."""
    try:
        server.call("transcribe")
    except InferenceServerException as error:
        return str(error)
    return ""


class Statuses:
    """The answer of gRPC's health protocol."""

    def __init__(self, url: str) -> None:
        self._url = url

    def now(self) -> str:
        with grpc.insecure_channel(self._url) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=10
                )
            except grpc.RpcError as error:
                return str(error.code().name)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def test_it_serves_with_admin_calls_locked_and_leaves_nothing_behind(tmp_path):
    with dummy_server(tmp_path) as server:
        assert server.call("transcribe") in {stub.pid for stub in server.stubs("transcribe")}
        # The working directory is empty: a submitted file may name others.
        folders = {Path(stub.cwd()) for model in MODELS for stub in server.stubs(model)}
        assert [list(folder.iterdir()) for folder in folders] == [[]]
        assert server.get("/livez") == (200, "alive\n")
        status, health = server.ready()
        assert status == 200
        assert health["ready"] is True
        assert health["models"]["wav2vec2"] == {
            "state": "ready",
            "instances": 2,
            "dead": 0,
            "heals": 0,
            "hangs": 0,
        }
        assert 'asr_heals_total{model="wav2vec2"} 0' in server.get("/metrics")[1]
        assert server.get("/other")[0] == 404
        with grpcclient.InferenceServerClient(server.url) as client:
            assert client.is_server_ready()
            for locked in (
                client.get_model_repository_index,
                client.get_system_shared_memory_status,
                client.get_trace_settings,
                client.get_log_settings,
                lambda: client.unload_model("transcribe"),
            ):
                with pytest.raises(InferenceServerException, match="This protocol is restricted"):
                    locked()

        assert server.stop() == 0
        assert server.leftovers() == []


def test_a_stop_lets_calls_finish_and_refuses_new_ones(tmp_path):
    with dummy_server(tmp_path, "--max-batch-size", "1") as server:
        calls = [server.call_in_background("transcribe", 4.0) for _ in range(4)]
        # More than wav2vec2 has begun with: its queue is work, too.
        calls += [server.call_in_background("wav2vec2", 0.5) for _ in range(8)]
        wait_for(lambda: server.begun("transcribe") == 4)
        # One that moves on between the two counts is in neither.
        wait_for(lambda: server.begun("wav2vec2") + server.queued("wav2vec2") == 8)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.ready()[1]["state"] == "draining")
        assert server.ready()[0] == 503
        # Without asr-server, Triton would answer SERVING even with no model left.
        seen = Statuses(server.url)
        wait_for(lambda: seen.now() == "NOT_SERVING")

        wait_for(lambda: "StatusCode.NOT_FOUND" in refusal(server))
        assert "has no available versions" in refusal(server)
        assert [type(call.result()) for call in calls] == [int] * 12
        while (status := seen.now()) == "NOT_SERVING":
            time.sleep(0.01)
        assert status == "UNAVAILABLE", "the port is closed"
        assert server.process.wait(timeout=60) == 0
        assert NOT_READY not in server.log.read_text()
        assert server.leftovers() == []


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_is_cut_short_by_its_timeout_or_a_second_signal(tmp_path, signals):
    with dummy_server(tmp_path, "--exit-timeout-s", "1" if signals == 1 else "50") as server:
        call = server.call_in_background("transcribe", 55.0)
        wait_for(lambda: server.begun("transcribe") == 1)
        server.process.send_signal(signal.SIGINT)
        if signals == 2:
            wait_for(lambda: server.ready()[1]["state"] == "draining")
            # Two signals at the same moment count as one; a person's second one comes later.
            time.sleep(1)
            server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == 1
        assert isinstance(call.result(), InferenceServerException)
        assert server.leftovers() == []


def test_killed_it_leaves_nothing_running(tmp_path):
    with dummy_server(tmp_path) as server:
        assert len(server.stubs("wav2vec2")) == 2
        server.process.kill()
        # Seen: tritonserver and its stubs end with it, in 0.02 s. The watchdog has a second more.
        wait_for(lambda: not server.leftovers(), timeout_s=3)


def test_http_is_locked_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("hush:,=\n")
    with dummy_server(tmp_path, f"--http-port={port}", f"--token-file={token}"):
        http = f"http://127.0.0.1:{port}/v2"
        with urllib.request.urlopen(f"{http}/health/ready", timeout=10) as answer:
            assert answer.status == 200
        with_token = {"authorization": "hush:,="}
        for locked in ("repository/index", "systemsharedmemory/status", "logging", "trace/setting"):
            data = b"{}" if locked == "repository/index" else None
            request = urllib.request.Request(f"{http}/{locked}", data, with_token)
            with pytest.raises(urllib.error.HTTPError, match="403") as caught:
                urllib.request.urlopen(request, timeout=10)
            caught.value.close()
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            urllib.request.urlopen(f"{http}/models/transcribe", timeout=10)
        caught.value.close()
        request = urllib.request.Request(f"{http}/models/transcribe", headers=with_token)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


def test_it_ends_when_a_model_does_not_load(tmp_path):
    with dummy_server(tmp_path, ready=False) as server:
        (server.control / "fail-wav2vec2").touch()
        assert server.process.wait(timeout=30) == 1
        assert "asked to fail" in server.log.read_text()
        assert list(server.run_dir.glob("*")) == []


def test_stopped_while_starting_it_ends_at_once(tmp_path):
    with dummy_server(tmp_path, ready=False) as server:
        wait_for(server.run_dir.exists)
        assert server.stop() == 0
        assert list(server.run_dir.glob("*")) == []


def test_a_signal_that_comes_twice_or_to_the_whole_group_lets_calls_finish(tmp_path):
    with dummy_server(tmp_path) as server:
        call = server.call_in_background("transcribe", 3.0)
        wait_for(lambda: server.begun("transcribe") == 1)
        below = psutil.Process(server.process.pid).children(recursive=True)
        # As `timeout` does, and as systemd does to all processes of a service.
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        assert isinstance(call.result(), int)
        assert server.process.wait(timeout=60) == 0
        assert server.leftovers() == []
