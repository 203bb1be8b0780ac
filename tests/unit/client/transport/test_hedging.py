"""When a second server gets a request, without a server."""

from __future__ import annotations

import pytest

from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call
from asr_client._transport.hedging import ASK_EVERY_S, LOOK_AGAIN_S, Hedging
from asr_client._transport.server import Health
from asr_client.testing import Fault
from tests.support.client.calls import Clock, with_servers

TIMEOUT_S = 300.0


class Course:
    """A hedging of a call of 300 s that began at the first of its servers."""

    def __init__(self, *addresses: str) -> None:
        self.clock = Clock()
        self.call, self.first = with_servers(*addresses, clock=self.clock, timeout_s=TIMEOUT_S)
        self.hedging = Hedging(self.call, self.first)

    def wait(self) -> OpenAttempt | None:
        """What is to be sent within the next few times that the hedging wants to look."""
        for _ in range(3):
            self.clock.time_s += self.hedging.wait_s() or 0.0
            self.hedging.must_ask()
            second = self.hedging.second()
            if second is not None:
                return second
        return None

    def at_half_time(self) -> OpenAttempt | None:
        self.clock.time_s += TIMEOUT_S / 2
        return self.hedging.second()


def tokens(call: Call) -> float:
    return call.budget.tokens


def test_the_first_server_is_asked_now_and_then_and_has_half_of_the_time() -> None:
    course = Course("a", "b")
    asked = 0
    while course.clock.time_s < course.first.began_s + TIMEOUT_S / 2:
        wait_s = course.hedging.wait_s()
        assert wait_s is not None
        assert 0 < wait_s <= ASK_EVERY_S
        course.clock.time_s += wait_s
        asked += course.hedging.must_ask()
        second = course.hedging.second()
    assert asked == TIMEOUT_S / 2 / ASK_EVERY_S
    assert second is not None
    assert (second.choice.address, second.timeout_s) == ("b", TIMEOUT_S / 2)
    # Two are enough, and the second is waited for without questions.
    assert course.hedging.wait_s() is None
    assert course.hedging.second() is None


def test_a_second_server_costs_a_token_and_there_is_none_without() -> None:
    course = Course("a", "b")
    while tokens(course.call) >= 1:
        course.call.budget.take()
    assert course.at_half_time() is None
    assert course.hedging.must_ask()
    assert course.hedging.wait_s() == LOOK_AGAIN_S
    for _ in range(11):
        course.call.budget.refill()
    assert course.wait() is not None
    assert tokens(course.call) < 1


def test_a_server_that_is_left_out_is_no_second_one() -> None:
    course = Course("a", "b")
    course.call.servers.note_ready("b", ready=False)
    assert course.at_half_time() is None
    course.call.servers.note_ready("b", ready=True)
    assert course.wait() is not None


def test_silence_to_others_is_enough() -> None:
    course = Course("a", "b")
    course.clock.time_s += ASK_EVERY_S
    assert course.hedging.second() is None
    course.call.servers.unanswered(course.first.choice, "no answer within 5.0 s")
    assert course.hedging.second() is not None


def test_no_sign_of_life_leaves_it_out_and_sends_the_request_elsewhere() -> None:
    course = Course("a", "b")
    course.clock.time_s += ASK_EVERY_S
    course.hedging.no_sign_of_life()
    assert course.call.servers.health("a") is Health.SILENT
    second = course.hedging.second()
    assert second is not None
    assert second.choice.address == "b"


def test_without_another_server_the_one_that_gives_no_sign_gets_it_again() -> None:
    course = Course("a", "b")
    course.call.servers.note_ready("b", ready=False)
    course.clock.time_s += ASK_EVERY_S
    course.hedging.no_sign_of_life()
    second = course.hedging.second()
    assert second is not None
    assert second.choice.address == "a"


def test_a_second_server_that_fails_is_followed_by_a_third() -> None:
    course = Course("a", "b", "c")
    second = course.at_half_time()
    assert second is not None
    course.hedging.lost(AttemptFailed(second, *Fault.CONNECTION_LOST.value))
    third = course.wait()
    assert third is not None
    assert {second.choice.address, third.choice.address} == {"b", "c"}


def test_the_failure_of_the_last_one_is_the_call_s() -> None:
    course = Course("a", "b")
    second = course.at_half_time()
    assert second is not None
    course.hedging.lost(AttemptFailed(course.first, *Fault.CONNECTION_LOST.value))
    with pytest.raises(AttemptFailed) as caught:
        course.hedging.lost(AttemptFailed(second, *Fault.QUEUE_FULL.value))
    assert caught.value.attempt is second


def test_an_answer_leaves_the_one_that_was_outrun_out() -> None:
    course = Course("a", "b")
    second = course.at_half_time()
    assert second is not None
    course.hedging.won(second)
    assert course.call.in_flight == ()
    assert course.call.servers.health("a") is Health.SILENT
    assert course.call.servers.health("b") is Health.UP
