"""The network of the testing module: what a client makes of its failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from asr_client import DeadlineExceeded, RetryPolicy, ServerUnavailable
from asr_client._transport.connections import SILENCE_S
from asr_client.testing import FakeServer, Fault, FlakyNetwork
from tests.support.client.driver import Driver

SECOND = np.zeros(16_000, np.float32)
ONCE = RetryPolicy(max_attempts=1)


def say(client: Any, **options: Any) -> str:
    text: str = client.transcribe(SECOND, sample_rate=16_000, **options).text
    return text


@pytest.fixture
def network(server: FakeServer) -> Iterator[FlakyNetwork]:
    with FlakyNetwork(server.url) as made:
        yield made


def test_it_passes_everything_on(driver: Driver, network: FlakyNetwork) -> None:
    client = driver.open(network.url)
    assert say(client) == "seven of clubs"
    assert network.connections == 1
    assert network.bytes_to_server > SECOND.nbytes


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_what_is_compressed_is_smaller_and_the_same(
    driver: Driver, network: FlakyNetwork, server: FakeServer, compression: str
) -> None:
    client = driver.open(network.url, compression=compression)
    assert say(client) == "seven of clubs"
    assert network.bytes_to_server < SECOND.nbytes / 10
    assert server.requests[0].audio == SECOND.tobytes()


def test_an_unknown_compression_is_refused(driver: Driver) -> None:
    with pytest.raises(ValueError, match="compression is 'zip'"):
        driver.open("localhost:1", compression="zip")


def test_a_reset_is_an_unavailable_server_and_the_next_call_connects_again(
    driver: Driver, network: FlakyNetwork, server: FakeServer
) -> None:
    client = driver.open(network.url)
    say(client)
    network.reset()
    assert say(client) == "seven of clubs"
    server.stop()
    network.reset()
    with pytest.raises(ServerUnavailable):
        say(client, retry=ONCE)


def test_silence_is_met_by_the_deadline_and_the_next_call_connects_anew(
    driver: Driver, network: FlakyNetwork
) -> None:
    client = driver.open(network.url)
    say(client)
    network.silence()
    assert network.connections == 0
    began = time.monotonic()
    # Both ends are still connected, and neither knows.
    while time.monotonic() - began < SILENCE_S:
        with pytest.raises(DeadlineExceeded):
            say(client, timeout_s=0.3)
    assert say(client) == "seven of clubs"
    assert network.connections == 1


def test_a_slow_answer_is_no_silence(
    driver: Driver, network: FlakyNetwork, server: FakeServer
) -> None:
    client = driver.open(network.url)
    say(client)
    server.delay_s = 60
    with pytest.raises(DeadlineExceeded):
        say(client, timeout_s=0.3)
    server.delay_s = 0
    say(client)
    assert network.connections == 1


def test_stopping_breaks_what_is_open(driver: Driver, server: FakeServer) -> None:
    network = FlakyNetwork(server.url)
    with pytest.raises(RuntimeError, match="not started"):
        _ = network.url
    network.start()
    client = driver.open(network.url)
    say(client)
    network.stop()
    network.stop()
    with pytest.raises(ServerUnavailable):
        say(client, retry=ONCE)


def test_random_failures_are_the_same_for_a_seed(driver: Driver, server: FakeServer) -> None:
    client = driver.open(server.url, retry=ONCE)

    def outcomes(seed: int) -> list[str]:
        server.disturb({Fault.QUEUE_FULL: 0.3, Fault.CORRUPT_AUDIO: 0.2}, seed=seed)
        made = []
        for _ in range(40):
            try:
                made.append(say(client))
            except Exception as error:
                made.append(type(error).__name__)
        return made

    first = outcomes(1)
    assert outcomes(1) == first
    assert outcomes(2) != first
    assert {"seven of clubs", "ServerBusy", "InvalidAudio"} == set(first)
    server.disturb({})
    assert say(client) == "seven of clubs"


def test_what_is_scripted_goes_before_what_is_random(server: FakeServer, driver: Driver) -> None:
    client = driver.open(server.url, retry=ONCE)
    server.disturb({Fault.CORRUPT_AUDIO: 1.0}, slow=1.0, slow_s=60)
    server.fail(Fault.DRAINING)
    with pytest.raises(ServerUnavailable):
        say(client)
    with pytest.raises(DeadlineExceeded):
        say(client, timeout_s=0.2)
    with pytest.raises(ValueError, match="chances"):
        server.disturb({Fault.DRAINING: 1.1})
