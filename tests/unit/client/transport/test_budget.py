from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from asr_client._transport.budget import MIN_TOKENS, RetryBudget


def begun(budget: RetryBudget, calls: int) -> ExitStack:
    """So many calls in flight, until it is left."""
    stack = ExitStack()
    for _ in range(calls):
        stack.enter_context(budget.in_flight())
    return stack


def spent(budget: RetryBudget) -> int:
    """Take all there is."""
    count = 0
    while budget.take():
        count += 1
    return count


def test_it_starts_at_twice_the_concurrency() -> None:
    budget = RetryBudget()
    with begun(budget, 16):
        assert spent(budget) == 32


def test_a_lone_caller_has_a_few() -> None:
    budget = RetryBudget()
    with begun(budget, 1):
        assert spent(budget) == MIN_TOKENS


def test_calls_one_after_another_are_not_calls_at_once() -> None:
    budget = RetryBudget()
    for _ in range(100):
        with budget.in_flight():
            pass
    assert spent(budget) == MIN_TOKENS


def test_more_concurrency_adds_only_what_is_new() -> None:
    budget = RetryBudget()
    with begun(budget, 8):
        assert spent(budget) == 16
        with begun(budget, 1):
            assert spent(budget) == 2


def test_ten_successes_pay_for_one_retry() -> None:
    budget = RetryBudget()
    spent(budget)
    for _ in range(9):
        budget.refill()
    assert not budget.take()
    budget.refill()
    assert budget.take()
    assert not budget.take()


def test_it_never_holds_more_than_its_size() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.refill()
    assert spent(budget) == MIN_TOKENS


@given(st.lists(st.booleans(), max_size=300))
def test_retries_are_at_most_the_start_and_a_tenth_of_the_successes(tries: list[bool]) -> None:
    budget = RetryBudget()
    taken = successes = 0
    for is_retry in tries:
        if is_retry:
            taken += budget.take()
        else:
            budget.refill()
            successes += 1
        assert taken <= MIN_TOKENS + successes / 10 + 1e-6


def test_threads_share_it() -> None:
    budget = RetryBudget()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: budget.take(), range(200))) == MIN_TOKENS
