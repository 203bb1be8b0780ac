"""Both clients against the fake: each test runs once with each."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

import numpy as np
import pytest

import asr_client
from asr_client import RetryPolicy
from asr_client.testing import FakeServer, Fault
from tests.support.client.driver import Driver
from tests.support.recordings import FOLDER

SILENCE = np.zeros(8000, np.int16)
RECORDING = FOLDER / "go-forward-ten-meters.wav"


def say(client: Any, **options: Any) -> asr_client.Transcript:
    transcript = client.transcribe(SILENCE, sample_rate=16000, **options)
    assert isinstance(transcript, asr_client.Transcript)
    return transcript


def test_a_file_becomes_its_words(client: Any) -> None:
    transcript = client.transcribe(RECORDING)
    assert transcript.text == "seven of clubs"
    assert [word.text for word in transcript.words] == ["seven", "of", "clubs"]
    assert transcript.chars == transcript.channels == ()
    assert transcript.duration_s == pytest.approx(2.7, abs=1)


def test_what_is_asked_for_travels(client: Any, server: FakeServer) -> None:
    say(client, timestamps="char", channel=0, timeout_s=20)
    sent = server.requests[-1]
    assert sent.audio == SILENCE.tobytes()
    assert json.loads(sent.options) == {
        "encoding": "pcm_s16le",
        "sample_rate": 16000,
        "channels": 1,
        "timestamps": "char",
        "channel": 0,
        "decoder": "greedy",
    }
    assert sent.timeout_us is not None
    assert 0.7 * 15e6 < sent.timeout_us <= 0.7 * 20e6
    assert sent.deadline_s is not None
    assert 15 < sent.deadline_s <= 22


def test_the_transcript_names_the_request_of_the_server_s_log(
    client: Any, server: FakeServer
) -> None:
    assert say(client).request_id == server.requests[-1].request_id != ""


def test_a_request_that_can_succeed_later_is_sent_again(client: Any, server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL, times=2)
    server.fail(Fault.DEAD_FRONT)
    assert say(client).text == "seven of clubs"
    assert len(server.requests) == 4
    assert len({request.request_id for request in server.requests}) == 1


def test_a_request_that_cannot_succeed_is_sent_once(client: Any, server: FakeServer) -> None:
    with pytest.raises(asr_client.InvalidAudio) as caught:
        client.transcribe(b"")
    assert caught.value.code == "EMPTY_AUDIO"
    assert (caught.value.attempts, len(server.requests)) == (1, 1)
    assert caught.value.address == server.url


def test_what_the_server_would_refuse_for_its_size_is_not_sent(
    driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url, max_audio_bytes=10)
    with pytest.raises(asr_client.InvalidAudio) as caught:
        client.transcribe(b"x" * 11)
    assert (caught.value.code, caught.value.status) == ("AUDIO_TOO_LARGE", "INVALID_ARGUMENT")
    assert caught.value.server_message == "AUDIO_TOO_LARGE: 11 bytes, this client sends at most 10"
    assert (caught.value.attempts, server.requests) == (0, ())
    client.transcribe(np.zeros(5, np.int16), sample_rate=16_000)
    assert len(server.requests[0].audio) == 10
    with pytest.raises(ValueError, match="max_audio_bytes is 0"):
        driver.open(server.url, max_audio_bytes=0)


def test_retries_have_an_end(client: Any, server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL, times=100)
    with pytest.raises(asr_client.ServerBusy) as caught:
        say(client)
    assert caught.value.attempts == len(server.requests) == 5


def test_retries_can_be_off_for_a_client_or_a_call(driver: Driver, server: FakeServer) -> None:
    once = RetryPolicy(max_attempts=1)
    server.fail(Fault.QUEUE_FULL, times=2)
    for client, options in (
        (driver.open(server.url, retry=once), {}),
        (driver.open(server.url), {"retry": once}),
    ):
        with pytest.raises(asr_client.ServerBusy):
            say(client, **options)
    assert len(server.requests) == 2


def test_an_answer_without_outputs_is_an_error(client: Any, server: FakeServer) -> None:
    server.fail(Fault.NO_OUTPUTS)
    with pytest.raises(asr_client.InvalidResponse, match="not valid"):
        say(client)


def test_the_timeout_ends_a_call_and_its_work(client: Any, server: FakeServer) -> None:
    server.delay_s = 60
    begun = time.monotonic()
    with pytest.raises(asr_client.DeadlineExceeded) as caught:
        say(client, timeout_s=0.3)
    assert 0.2 < time.monotonic() - begun < 20
    assert caught.value.attempts == 1
    assert server.requests[-1].ended_early.wait(20)


def test_a_server_that_accepts_and_says_nothing_does_not_hold_a_call(driver: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = driver.open(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(asr_client.AsrError):
            say(client, timeout_s=0.3)
        assert not client.is_ready(timeout_s=0.3)


def test_a_server_that_is_gone_and_comes_back(client: Any, server: FakeServer) -> None:
    say(client)
    server.stop()
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        say(client)
    assert caught.value.attempts == 5
    assert not client.is_ready()
    server.start()
    client.wait_until_ready(20)
    assert say(client).text == "seven of clubs"


def test_ready_means_both_models(client: Any, server: FakeServer) -> None:
    assert client.is_ready()
    server.ready = False
    assert not client.is_ready()
    with pytest.raises(asr_client.DeadlineExceeded):
        client.wait_until_ready(0.3)


def test_waiting_for_a_server_that_is_not_there_says_why(driver: Driver) -> None:
    with pytest.raises(asr_client.DeadlineExceeded) as caught:
        driver.open("127.0.0.1:9").wait_until_ready(0.3)
    assert isinstance(caught.value.__cause__, asr_client.ServerUnavailable)


def test_status_tells_servers_and_models_apart(client: Any, server: FakeServer) -> None:
    ready = client.status()
    assert (ready.live, ready.ready, ready.name) == (True, True, "triton")
    assert [(m.name, m.ready, m.versions) for m in ready.models] == [
        ("transcribe", True, ("1",)),
        ("wav2vec2", True, ("1",)),
    ]
    server.ready = False
    draining = client.status()
    assert (draining.live, draining.ready) == (True, False)
    assert draining.models[0].versions == ()
    server.stop()
    with pytest.raises(asr_client.ServerUnavailable):
        client.status()


def test_info_is_what_the_server_states(client: Any, server: FakeServer) -> None:
    server.parameters |= {"languages": "eng,deu", "language_model": "four.arpa"}
    assert client.info() == asr_client.ServerInfo(
        model_id="fake",
        model_revision="1",
        precision="fp32",
        languages=("eng", "deu"),
        decoders=("greedy", "beam"),
        language_model="four.arpa",
        fingerprint="fake",
        address=server.url,
    )
    server.ready = False
    with pytest.raises(asr_client.ServerDraining):
        client.info()
    server.stop()
    with pytest.raises(asr_client.ServerUnavailable):
        client.info()


def test_an_older_server_says_nothing_of_itself(client: Any, server: FakeServer) -> None:
    server.parameters = {}
    nothing = dict.fromkeys(
        ("model_id", "model_revision", "precision", "language_model", "fingerprint")
    )
    assert client.info() == asr_client.ServerInfo(
        **nothing, languages=(), decoders=(), address=server.url
    )
    model = client.transcribe(np.zeros(16_000, np.int16), sample_rate=16_000).model
    assert (model.precision, model.fingerprint) == (None, None)


def test_large_audio_passes_both_ways(client: Any, server: FakeServer) -> None:
    server.text = "a" * 6_000_000
    samples = np.zeros(8_000_000, np.int16)
    transcript = client.transcribe(samples, sample_rate=16000, timestamps="none")
    assert len(transcript.text) == 6_000_000
    assert len(server.requests[-1].audio) == 16_000_000


def test_close_may_be_called_again_and_ends_the_client(client: Any) -> None:
    say(client)
    client.close()
    client.close()
    for method in (lambda: say(client), client.is_ready, client.status, client.wait_until_ready):
        with pytest.raises(RuntimeError, match="closed"):
            method()


@pytest.mark.parametrize("url", ["", "http://localhost:8001", "grpc://localhost:8001", None])
def test_an_address_of_another_kind_is_refused(driver: Driver, url: Any) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        driver.open(url)


def test_a_timeout_without_end_is_refused(driver: Driver, client: Any) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        driver.open("localhost:1", timeout_s=float("inf"))
    with pytest.raises(ValueError, match="timeout_s"):
        say(client, timeout_s=0)


def test_hundreds_of_clients_leave_nothing_behind(driver: Driver, server: FakeServer) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def use(count: int) -> None:
        for _ in range(count):
            client = driver.open(server.url)
            say(client)
            client.close()

    use(30)
    descriptors, threads = held()
    use(300)
    deadline = time.monotonic() + 30
    # Sockets are closed a little later.
    while held()[0] > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held()[0] <= descriptors
    # The pools of gRPC's core and of the fake may have grown by one or the other.
    assert held()[1] <= threads + 8


def test_a_call_has_the_id_that_it_is_given(client: Any, server: FakeServer) -> None:
    transcript = client.transcribe(SILENCE, sample_rate=16_000, request_id="order 66/é")
    assert transcript.request_id == server.requests[-1].request_id == "order 66/é"
    for wrong in ("", "x" * 129, "two\nlines", "\x00"):
        with pytest.raises(ValueError, match="request_id has to be 1 to 128 printable"):
            client.transcribe(SILENCE, sample_rate=16_000, request_id=wrong)
    assert len(server.requests) == 1
