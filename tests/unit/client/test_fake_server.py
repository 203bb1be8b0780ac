"""What the fake server does beyond answering, which the clients' tests use throughout."""

import threading
import time

import numpy as np

from asr_client import AudioWarning, Client
from asr_client.testing import FakeServer

SECOND = np.zeros(16_000, np.int16)


def test_what_comes_in_a_stall_is_answered_after_it():
    ended: list[float] = []
    with FakeServer() as server, Client(server.url) as client:
        client.transcribe(SECOND, sample_rate=16_000)

        def call() -> None:
            client.transcribe(SECOND, sample_rate=16_000)
            ended.append(time.monotonic())

        began = time.monotonic()
        server.stall(0.5)
        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert min(ended) - began >= 0.5


def test_only_the_last_requests_are_kept():
    with FakeServer(keep=2) as server, Client(server.url) as client:
        for value in range(4):
            client.transcribe(SECOND + value, sample_rate=16_000)
        kept = [request.audio[:1] for request in server.requests]
        assert kept == [b"\2", b"\3"]


def test_the_end_of_a_with_block_says_goodbye_to_open_connections(capfd):
    # gRPC writes "Got goaway" to stderr where a server cancels instead.
    with FakeServer() as server:
        client = Client(server.url)
        client.transcribe(SECOND, sample_rate=16_000)
    with client:
        assert not client.is_ready()
    assert capfd.readouterr().err == ""


def test_it_sends_the_warnings_that_a_test_sets():
    warning = AudioWarning(code="CLIPPED", message="the audio is clipped")
    with FakeServer() as server, Client(server.url) as client:
        server.answer(SECOND, "loud", sample_rate=16_000, warnings=[warning])
        assert client.transcribe(SECOND, sample_rate=16_000).warnings == (warning,)
        assert client.transcribe(SECOND + 1, sample_rate=16_000).warnings == ()
