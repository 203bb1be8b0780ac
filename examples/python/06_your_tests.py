"""Tests of code that uses the SDK, with the fake server: no Triton, no GPU, milliseconds.

pytest 06_your_tests.py
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from asr_client import Client, RetryPolicy, ServerBusy
from asr_client.testing import FakeServer, Fault

RATE_HZ = 16_000
SECOND = np.zeros(RATE_HZ, np.int16)


def shouts(client: Client, samples: npt.NDArray[np.int16]) -> str:
    """The code under test; yours is imported from your package."""
    return client.transcribe(samples, sample_rate=RATE_HZ).text.upper() + "!"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that listens on a free port of this machine."""
    with FakeServer(text="go forward") as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    """A client with waits that suit a test."""
    quick = RetryPolicy(max_attempts=3, initial_backoff_s=0.001)
    with Client(server.url, timeout_s=5, retry=quick) as opened:
        yield opened


def test_the_text_is_used(client: Client) -> None:
    """The fake answers what it was made with."""
    assert shouts(client, SECOND) == "GO FORWARD!"


def test_each_recording_can_have_its_own_text(client: Client, server: FakeServer) -> None:
    """Audio is known by its samples."""
    server.answer(SECOND[:800], "stop", sample_rate=RATE_HZ)
    assert shouts(client, SECOND[:800]) == "STOP!"
    assert shouts(client, SECOND) == "GO FORWARD!"


def test_a_full_queue_is_tried_again(client: Client, server: FakeServer) -> None:
    """Two refusals, then words; the fake keeps what it was sent."""
    server.fail(Fault.QUEUE_FULL, times=2)
    assert shouts(client, SECOND) == "GO FORWARD!"
    assert [len(request.audio) for request in server.requests] == [2 * RATE_HZ] * 3


def test_a_queue_that_stays_full_is_an_error(client: Client, server: FakeServer) -> None:
    """What your code does then is worth a test of its own."""
    server.fail(Fault.QUEUE_FULL, times=9)
    with pytest.raises(ServerBusy):
        shouts(client, SECOND)


def test_time_is_limited(client: Client, server: FakeServer) -> None:
    """A server that hangs costs what `timeout_s` says."""
    server.delay_s = 60
    with pytest.raises(TimeoutError):
        client.transcribe(SECOND, sample_rate=RATE_HZ, timeout_s=0.1)
