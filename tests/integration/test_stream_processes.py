"""The processes of `transcribe_stream` die, heal and drain as those of `transcribe` do."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from asr_client import Client, paced
from asr_client.testing import FlakyNetwork
from tests.support.live import LiveStream, call, connect, encoded, talk
from tests.support.server import metrics_page
from tests.support.server.dummy_server import STREAM, dummy_server, wait_for
from tests.support.server.long_recordings import long_recording
from tools.local_server import LocalServer, local_server

pytestmark = pytest.mark.server

PCM = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}


@pytest.fixture(scope="module")
def fragile_server() -> Iterator[LocalServer]:
    """In int8 on OpenVINO, where a window's result does not depend on its batch."""
    with local_server(
        "--frontends=1", "--stream-frontends=2", "--precision=int8", log=subprocess.DEVNULL
    ) as server:
        yield server


def test_a_long_file_is_bit_for_bit_the_same_with_looks_beside_it(fragile_server: LocalServer):
    """Its windows are put off for looks, and are the same windows; this test comes first."""
    pytest.importorskip("openvino")
    file, _ = long_recording(100)
    live = encoded(talk(3, count=4), "pcm_s16le")
    pieces = [live[start : start + 2 * 9_600] for start in range(0, len(live), 2 * 9_600)]

    def transcribed() -> dict[str, Any]:
        result = call(channel, file, {}, model="transcribe")
        del result["timing_ms"]
        return result

    def put_off() -> float:
        return metrics_page.value(fragile_server.metrics(), "asr_deferred_windows_total")

    with connect(fragile_server.url) as channel, ThreadPoolExecutor(2) as pool:
        alone = transcribed()
        assert len(alone["words"]) > 50
        assert put_off() == 0, "nothing changes without live audio"
        finals = LiveStream(channel, PCM).run(pieces)
        deadline = time.monotonic() + 120
        while not put_off():
            assert time.monotonic() < deadline
            beside = [pool.submit(transcribed) for _ in range(2)]
            while not all(each.done() for each in beside):
                assert LiveStream(channel, PCM).run(pieces) == finals
            assert [each.result() for each in beside] == [alone, alone]


def test_a_front_killed_amid_a_stream_loses_nothing(fragile_server: LocalServer):
    audio = encoded(talk(3, count=4), "pcm_s16le")
    with connect(fragile_server.url) as channel:
        whole = LiveStream(channel, PCM).run([audio])
        assert len(whole) > 2
        stream = LiveStream(channel, PCM)
        step = 2 * 4_800
        failed = 0
        for number, start in enumerate(range(0, len(audio), step)):
            stream.audio += audio[start : start + step]
            if number in (3, 11):
                random.choice(fragile_server.serving_stubs(STREAM)).kill()
                wait_for(lambda: fragile_server.health()[1]["state"] == "healing")
                # Files are served meanwhile, and the server counts as ready.
                assert fragile_server.health()[0] == 200
            try:
                stream.take(stream.look())
            except grpc.RpcError as error:
                # The next look has newer audio, and whatever this one would have found.
                assert "is not healthy" in error.details()
                failed += 1
            if number == 8:
                wait_for(lambda: fragile_server.health()[1]["state"] == "ready", timeout_s=120)
        wait_for(lambda: fragile_server.health()[1]["state"] == "ready", timeout_s=120)
        stream.take(stream.look(end=True))
        assert stream.audio == b""
        assert stream.segments == whole
        assert fragile_server.health()[1]["models"][STREAM]["heals"] >= 2


def test_the_sdk_loses_nothing_over_kills_and_a_lost_connection(fragile_server: LocalServer):
    """The short form of `python -m tools.live_faults`."""
    samples = (talk(5, count=3) * 32767).round().astype(np.int16)
    parts = np.array_split(samples, 40)

    def is_ready() -> bool:
        return fragile_server.health()[1]["state"] == "ready"

    def disturbed() -> Iterator[np.ndarray]:
        for number, part in enumerate(parts):
            if number in (8, 30):
                wait_for(is_ready, timeout_s=120)
                model = STREAM if number == 8 else "wav2vec2"
                random.choice(fragile_server.serving_stubs(model)).kill()
                wait_for(lambda: not is_ready())
            if number == 20:
                network.reset()
            yield from paced(part, sample_rate=16_000, speed=4)

    with FlakyNetwork(fragile_server.url) as network, Client(network.url) as client:
        with client.stream(sample_rate=16_000) as live:
            list(live.run(parts))
        expected = live.transcript
        assert len(expected.segments) > 1
        with client.stream(sample_rate=16_000, give_up_s=120) as live:
            list(live.run(disturbed()))
        assert live.transcript == expected
    wait_for(is_ready, timeout_s=120)


def test_all_of_its_processes_are_replaced_and_the_server_stays_ready(tmp_path):
    with dummy_server(tmp_path, "--stream-frontends=2") as server:
        victims = server.stubs(STREAM)
        assert len(victims) == 2
        for victim in victims:
            victim.kill()
        wait_for(lambda: server.ready()[1]["models"][STREAM]["heals"] > 0 or _is_healing(server))
        wait_for(lambda: server.ready()[1]["state"] == "ready")
        server.remember()
        assert server.ready()[1]["models"][STREAM]["heals"] >= 1
        assert server.call(STREAM) not in {victim.pid for victim in victims}
        assert server.stop() == 0
        assert server.leftovers() == []


def _is_healing(server) -> bool:
    status, body = server.ready()
    if body["state"] == "healing":
        # Readiness is that of `transcribe` and `wav2vec2`.
        assert status == 200
    return body["state"] == "healing"


def test_a_stop_lets_looks_finish_beside_files_and_refuses_new_ones(tmp_path):
    with dummy_server(tmp_path, "--stream-frontends=2") as server:
        calls = [server.call_in_background(STREAM, 3.0) for _ in range(2)]
        calls += [server.call_in_background("transcribe", 8.0) for _ in range(2)]
        wait_for(lambda: server.begun(STREAM) == server.begun("transcribe") == 2)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "NOT_FOUND" in _refusal(server))
        # It is taken out at once, not behind the files.
        assert not all(call.answer for call in calls[2:])
        assert [type(call.result()) for call in calls] == [int] * 4
        assert server.process.wait(timeout=60) == 0
        assert server.leftovers() == []


def _refusal(server) -> str:
    try:
        server.call(STREAM)
    except InferenceServerException as error:
        return str(error.status())
    return ""


def test_a_server_without_live_recognition_has_no_such_model(tmp_path):
    with dummy_server(tmp_path) as server:
        assert server.ready()[0] == 200
        assert set(server.ready()[1]["models"]) == {"transcribe", "wav2vec2"}
        with pytest.raises(InferenceServerException) as refused:
            server.call(STREAM)
        assert "NOT_FOUND" in str(refused.value.status())
        assert "unknown model" in str(refused.value)
