from __future__ import annotations

import contextlib
import math

import pytest

import asr_client
from asr_client._telemetry import Watch
from asr_client._transport.attempt import OpenAttempt
from asr_client._transport.budget import RetryBudget
from asr_client._transport.call import Call
from asr_client._transport.retry import DEFAULT_MAX_ATTEMPTS, DEFAULT_RECONNECT_S
from asr_client._transport.server import SILENT_AFTER_S, Health
from asr_client._transport.statuses import never_sent
from asr_client.testing import Fault
from tests.support.client.calls import Clock, fail, made_call, with_servers
from tests.unit.client.test_errors import EXPECTED, FAILURES


def test_each_attempt_gets_the_time_that_is_left() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=10)
    first = call.attempt()
    assert first.timeout_s == 10
    clock.time_s += 4
    fail(first, *Fault.QUEUE_FULL.value)
    assert call.attempt().timeout_s == 6


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    call = made_call(Clock(), timeout_s=1, initial_backoff_s=4)
    attempt = call.attempt()
    with pytest.raises(asr_client.ServerBusy):
        fail(attempt, *Fault.QUEUE_FULL.value)


def test_a_failure_at_the_deadline_is_the_deadline() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=1)
    attempt = call.attempt()
    clock.time_s += 1
    with pytest.raises(asr_client.DeadlineExceeded) as caught:
        fail(attempt, *Fault.QUEUE_TIMEOUT.value)
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
    call, attempt = with_servers("a", "b")
    at_once = {Fault.CONNECTION_LOST, Fault.STOPPING, Fault.DRAINING, Fault.OUT_OF_MEMORY}
    try:
        pause_s = fail(attempt, fault.status, fault.message)
    except asr_client.AsrError:
        assert not EXPECTED[fault][1]
        return
    assert (pause_s == 0) == (fault in at_once)
    assert call.choose().address == "b"


def test_going_on_to_another_server_before_anything_was_sent_is_free() -> None:
    budget = RetryBudget()
    call, attempt = with_servers("a", "b", "c", max_attempts=1, budget=budget)
    for _ in range(2):
        assert fail(attempt, *REFUSED) == 0
        attempt = call.attempt(call.choose())
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        fail(attempt, *REFUSED)
    assert (caught.value.attempts, caught.value.address) == (3, "c")
    assert budget.tokens == RetryBudget().tokens


def fail_first(made: tuple[Call, OpenAttempt], failure: tuple[str, str]) -> None:
    _, attempt = made
    fail(attempt, *failure)


def test_sending_again_takes_from_the_budget_and_ends_with_it() -> None:
    budget = RetryBudget()
    for left in range(int(budget.tokens), 0, -1):
        fail_first(with_servers("a", "b", budget=budget), Fault.CONNECTION_LOST.value)
        assert budget.tokens == left - 1
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        fail_first(with_servers("a", "b", budget=budget), Fault.CONNECTION_LOST.value)
    assert caught.value.attempts == 1
    fail_first(with_servers("a", budget=budget, budgeted=False), Fault.QUEUE_FULL.value)
    fail_first(with_servers("a", budget=budget), REFUSED)


def test_an_answer_refills_the_budget_and_proves_the_server() -> None:
    budget = RetryBudget()
    budget.take()
    call, attempt = with_servers("a", "b", budget=budget)
    call.servers.failed("a", asr_client.ServerUnavailable)
    call.succeeded(attempt)
    assert budget.tokens == pytest.approx(RetryBudget().tokens - 0.9)
    assert call.servers.health("a") is Health.UP


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
        Fault.QUEUE_TIMEOUT.value,
        Fault.DEAD_FRONT.value,
        Fault.ENGINE_RESTARTING.value,
    ],
)
def test_a_server_whose_model_did_not_answer_in_time_is_left_out(status: str, words: str) -> None:
    clock = Clock()
    call, attempt = with_servers("a", "b", clock=clock, timeout_s=SILENT_AFTER_S)
    clock.time_s += SILENT_AFTER_S
    # Nothing is left of the call's time.
    with pytest.raises(asr_client.DeadlineExceeded):
        fail(attempt, status, words)
    assert call.servers.health("a") is Health.SILENT


def test_what_the_model_says_shows_that_it_makes_progress() -> None:
    for fault in (Fault.CORRUPT_AUDIO, Fault.INTERNAL_ERROR, Fault.OUT_OF_MEMORY):
        clock = Clock()
        call, attempt = with_servers("a", "b", clock=clock)
        clock.time_s += SILENT_AFTER_S
        with contextlib.suppress(asr_client.AsrError):
            fail(attempt, *fault.value)
        call.servers.unanswered(attempt.choice, "no answer")
        assert call.servers.health("a") is Health.UP


def test_a_call_goes_on_while_nobody_is_there_and_counts_none_of_it() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=300)
    elapsed_s, attempts = 0.0, 0
    while elapsed_s < DEFAULT_RECONNECT_S:
        pause_s = fail(call.attempt(), *REFUSED)
        attempts += 1
        clock.time_s += pause_s
        elapsed_s += pause_s
    assert attempts > DEFAULT_MAX_ATTEMPTS
    with pytest.raises(asr_client.ServerUnavailable):
        fail(call.attempt(), *REFUSED)


def test_a_server_that_is_back_gets_all_attempts_of_the_policy() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=300)
    for _ in range(2 * DEFAULT_MAX_ATTEMPTS):
        fail(call.attempt(), *REFUSED)
    for _ in range(DEFAULT_MAX_ATTEMPTS - 1):
        fail(call.attempt(), *Fault.QUEUE_FULL.value)
    with pytest.raises(asr_client.ServerBusy):
        fail(call.attempt(), *Fault.QUEUE_FULL.value)


@pytest.mark.parametrize(
    "words",
    [
        "errors resolving asr:1: [Domain name not found]",
        "failed to connect to all addresses; last error: Ssl handshake failed",
        "failed to connect to all addresses; last error: Socket closed",
    ],
)
def test_a_name_or_a_handshake_that_is_wrong_is_not_waited_for(words: str) -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=300)
    for _ in range(DEFAULT_MAX_ATTEMPTS - 1):
        fail(call.attempt(), "UNAVAILABLE", words)
    with pytest.raises(asr_client.ServerUnavailable):
        fail(call.attempt(), "UNAVAILABLE", words)


@pytest.mark.parametrize("draw", [0.0, 0.999])
def test_both_retries_after_a_death_leave_the_only_server_time_for_a_new_process(
    draw: float,
) -> None:
    call = made_call(Clock(), timeout_s=300, draw=draw)
    first_s = fail(call.attempt(), *Fault.DEAD_FRONT.value)
    second_s = fail(call.attempt(), *Fault.DEAD_FRONT.value)
    assert 2 <= first_s <= 4
    assert 8 <= first_s + second_s <= 16
    with pytest.raises(asr_client.EngineRestarting):
        fail(call.attempt(), *Fault.DEAD_FRONT.value)


def test_a_call_with_little_time_waits_for_a_new_process_half_of_it() -> None:
    call = made_call(Clock(), timeout_s=3, draw=0.999)
    assert fail(call.attempt(), *Fault.DEAD_FRONT.value) == 1.5


def test_a_poisonous_file_reaches_three_servers_at_most() -> None:
    call, attempt = with_servers("a", "b", "c", "d", max_attempts=9)
    reached = {call.address}
    for _ in range(2):
        assert fail(attempt, *Fault.DEAD_FRONT.value) < 1
        attempt = call.attempt(call.choose())
        reached.add(call.address)
    with pytest.raises(asr_client.EngineRestarting):
        fail(attempt, *Fault.DEAD_FRONT.value)
    assert len(reached) == 3


def test_a_block_that_returns_has_the_answer() -> None:
    records: list[asr_client.Attempt] = []
    call, attempt = with_servers("a", "b", watch=Watch(records.append))
    with attempt:
        pass
    assert [(record.address, record.status) for record in records] == [("a", "OK")]
    assert call.in_flight == ()
    assert call.servers._servers["a"].requests == 0


def test_an_exception_abandons_all_attempts_of_the_call_and_goes_on() -> None:
    records: list[asr_client.Attempt] = []
    call, attempt = with_servers("a", "b", watch=Watch(records.append))
    call.attempt(call.choose_second())
    with pytest.raises(RuntimeError, match="closed"), attempt:
        raise RuntimeError("closed")
    assert [record.status for record in records] == ["CANCELLED"] * 2
    assert [call.servers._servers[name].requests for name in "ab"] == [0, 0]


def test_an_attempt_without_time_gives_its_server_back() -> None:
    clock = Clock()
    call, attempt = with_servers("a", clock=clock)
    with attempt:
        pass
    choice = call.choose()
    clock.time_s += 10
    with pytest.raises(asr_client.DeadlineExceeded):
        call.attempt(choice)
    assert call.servers._servers["a"].requests == 0
