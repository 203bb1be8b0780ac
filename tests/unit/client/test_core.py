from __future__ import annotations

import math

import pytest

import asr_client
from asr_client._budget import RetryBudget
from asr_client._core import never_sent
from asr_client._servers import Health
from asr_client.testing import Fault
from tests.unit.client.calls import Clock, made_call, with_servers
from tests.unit.client.test_errors import EXPECTED, FAILURES


def test_each_attempt_gets_the_time_that_is_left() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=10)
    assert call.attempt() == 10
    clock.time_s += 4
    call.failed(*Fault.QUEUE_FULL.value)
    assert call.attempt() == 6


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    call = made_call(Clock(), timeout_s=1, initial_backoff_s=4)
    call.attempt()
    with pytest.raises(asr_client.ServerBusy):
        call.failed(*Fault.QUEUE_FULL.value)


def test_a_failure_at_the_deadline_is_the_deadline() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=1)
    call.attempt()
    clock.time_s += 1
    with pytest.raises(asr_client.DeadlineExceeded) as caught:
        call.failed(*Fault.QUEUE_TIMEOUT.value)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value.__cause__, asr_client.ServerBusy)


@pytest.mark.parametrize("timeout_s", [0, -1, math.inf, math.nan])
def test_a_call_without_an_end_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        made_call(Clock(), timeout_s=timeout_s)


REFUSED = ("UNAVAILABLE", "failed to connect to all addresses; last error: Connection refused")


@pytest.mark.parametrize(
    ("words", "unsent"),
    [
        (REFUSED[1], True),
        ("errors resolving asr:1: [Domain name not found]", True),
        ("Socket closed", False),
        ("recvmsg:Connection reset by peer", False),
        ("Exceeds maximum queue size", False),
    ],
)
def test_what_was_never_sent(words: str, unsent: bool) -> None:
    assert never_sent("UNAVAILABLE", words) == unsent
    assert not never_sent("INTERNAL", words)


@pytest.mark.parametrize("fault", FAILURES)
def test_trouble_of_one_server_is_left_at_once_and_other_trouble_waits(fault: Fault) -> None:
    call = with_servers("a", "b")
    at_once = {Fault.CONNECTION_LOST, Fault.STOPPING, Fault.DRAINING, Fault.OUT_OF_MEMORY}
    try:
        pause_s = call.failed(fault.status, fault.message)
    except asr_client.AsrError:
        assert not EXPECTED[fault][1]
        return
    assert (pause_s == 0) == (fault in at_once)
    assert call.choose().address == "b"


def test_going_on_to_another_server_before_anything_was_sent_is_free() -> None:
    budget = RetryBudget()
    call = with_servers("a", "b", "c", max_attempts=1, budget=budget)
    for _ in range(2):
        assert call.failed(*REFUSED) == 0
        call.choose()
        call.attempt()
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        call.failed(*REFUSED)
    assert (caught.value.attempts, caught.value.address) == (3, "c")
    assert budget.tokens == RetryBudget().tokens


def test_sending_again_takes_from_the_budget_and_ends_with_it() -> None:
    budget = RetryBudget()
    for left in range(int(budget.tokens), 0, -1):
        with_servers("a", "b", budget=budget).failed(*Fault.CONNECTION_LOST.value)
        assert budget.tokens == left - 1
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        with_servers("a", "b", budget=budget).failed(*Fault.CONNECTION_LOST.value)
    assert caught.value.attempts == 1
    with_servers("a", budget=budget, budgeted=False).failed(*Fault.QUEUE_FULL.value)
    with_servers("a", budget=budget).failed(*REFUSED)


def test_an_answer_refills_the_budget_and_proves_the_server() -> None:
    budget = RetryBudget()
    budget.take()
    call = with_servers("a", "b", budget=budget)
    call.servers.failed("a", asr_client.ServerUnavailable)
    call.succeeded()
    assert budget.tokens == pytest.approx(RetryBudget().tokens - 0.9)
    assert call.servers.health("a") is Health.UP


def test_a_deadline_that_passed_at_a_server_makes_it_doubtful() -> None:
    call = with_servers("a", "b")
    with pytest.raises(asr_client.DeadlineExceeded):
        call.failed("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert call.servers.health("a") is Health.UNPROVEN


def test_a_poisonous_file_reaches_three_servers_at_most() -> None:
    call = with_servers("a", "b", "c", "d", max_attempts=9)
    reached = {call.address}
    for _ in range(2):
        call.failed(*Fault.DEAD_FRONT.value)
        reached.add(call.choose().address)
        call.attempt()
    with pytest.raises(asr_client.EngineRestarting):
        call.failed(*Fault.DEAD_FRONT.value)
    assert len(reached) == 3
