"""A call whose servers are away for a while, as when a process was replaced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import asr_client
from asr_client import Attempt, RetryPolicy
from asr_client.testing import FakeServer, Fault
from tests.support.client.driver import Driver

CLIP = np.zeros(1600, np.int16)
QUICK = RetryPolicy(max_attempts=3, initial_backoff_s=0.02, max_backoff_s=0.05)
REFUSALS = 12
"""Far more than the policy's attempts."""


def say(client: Any, **options: Any) -> str:
    return str(client.transcribe(CLIP, sample_rate=16_000, **options).text)


class Replacement:
    """The hook of a client; starts a server once it was missing for some attempts."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.attempts: list[Attempt] = []

    def __call__(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        words = [one.error.server_message for one in self.attempts if one.error is not None]
        if sum("Connection refused" in one for one in words) == REFUSALS:
            self._server.start()


def test_a_call_rides_over_a_server_that_is_replaced(driver: Driver, server: FakeServer) -> None:
    replacement = Replacement(server)
    client = driver.open(server.url, retry=QUICK, on_attempt=replacement)
    say(client)
    server.stop()
    assert say(client) == "seven of clubs"
    assert len(replacement.attempts) >= REFUSALS
    # The client's budget is for what reaches servers.
    assert client._client._budget.tokens > 9


def test_the_attempts_that_the_policy_allows_are_left_for_the_new_process(
    driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url, retry=QUICK, on_attempt=Replacement(server))
    say(client)
    server.stop()
    server.fail(Fault.QUEUE_FULL)
    assert say(client) == "seven of clubs"


def test_several_servers_that_are_all_away_are_waited_for_too(
    driver: Driver, server: FakeServer
) -> None:
    with FakeServer() as other:
        client = driver.open([server.url, other.url], retry=QUICK, on_attempt=Replacement(server))
        say(client)
        other.stop()
        server.stop()
        assert say(client) == "seven of clubs"


@pytest.mark.parametrize(
    "policy", [RetryPolicy(max_attempts=1), RetryPolicy(reconnect_s=0, max_backoff_s=0.01)]
)
def test_who_wants_no_patience_has_none(
    driver: Driver, server: FakeServer, policy: RetryPolicy
) -> None:
    server.stop()
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        say(driver.open(server.url, retry=policy))
    assert caught.value.attempts == policy.max_attempts
