from __future__ import annotations

import pytest

from asr_client import RetryPolicy
from asr_client._transport.pace import Pace

POLICY = RetryPolicy(initial_backoff_s=1.0, max_backoff_s=4.0, backoff_multiplier=2.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pace(clock: Clock, concurrency: int = 8, patience_s: float = 60.0) -> Pace:
    return Pace(concurrency, policy=POLICY, patience_s=patience_s, clock=clock, rng=lambda: 1.0)


def test_it_starts_with_all_and_never_has_more(clock: Clock) -> None:
    made = pace(clock)
    for _ in range(100):
        made.accepted()
    assert (made.limit, made.pause_s()) == (8, 0.0)


def test_one_refusal_halves_and_its_neighbours_say_nothing_new(clock: Clock) -> None:
    made = pace(clock)
    sent = [made.sent() for _ in range(8)]
    assert [made.refused(one) for one in sent[:5]] == [True] * 5
    assert made.limit == 4


def test_refusals_of_later_rounds_halve_again_down_to_one(clock: Clock) -> None:
    made = pace(clock)
    limits = []
    for _ in range(5):
        made.refused(made.sent())
        limits.append(made.limit)
    assert limits == [4, 2, 1, 1, 1]


def test_successes_raise_it_by_about_one_for_each_full_round(clock: Clock) -> None:
    made = pace(clock)
    made.refused(made.sent())
    limits = []
    for _ in range(4):
        for _ in range(made.limit + 1):
            made.accepted()
        limits.append(made.limit)
    assert limits == [5, 6, 7, 8]


def test_the_wait_after_a_refusal_doubles_and_ends_with_a_success(clock: Clock) -> None:
    made = pace(clock)
    pauses = []
    for _ in range(4):
        made.refused(made.sent())
        pauses.append(made.pause_s())
        clock.now += 10
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    assert made.pause_s() == 0.0
    made.accepted()
    made.refused(made.sent())
    assert made.pause_s() == 1.0


def test_it_gives_up_when_nothing_was_taken_for_all_its_patience(clock: Clock) -> None:
    made = pace(clock, patience_s=60.0)
    assert made.refused(made.sent())
    clock.now += 59
    assert made.refused(made.sent())
    clock.now += 1
    assert not made.refused(made.sent())
    made.accepted()
    assert made.refused(made.sent())
