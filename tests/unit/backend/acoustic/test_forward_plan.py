from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asr_backend.acoustic.forward_plan import FREE_WASTE, MAX_WASTE, plan_forwards

SECOND = 16_000
LENGTHS = st.lists(st.integers(400, 20 * SECOND), max_size=40)
START = st.integers(0, 20 * SECOND)


@given(lengths=LENGTHS, budget=st.integers(400, 60 * SECOND), start=START)
def test_every_plan_keeps_its_promises(lengths: list[int], budget: int, start: int) -> None:
    forwards = plan_forwards(lengths, max_padded=budget, start=start)
    assert sorted(index for forward in forwards for index in forward) == list(range(len(lengths)))
    longest = [max(lengths[index] for index in forward) for forward in forwards]
    assert longest == sorted(longest)
    assert all(
        len(forward) == 1 or _is_allowed([lengths[index] for index in forward], budget)
        for forward in forwards
    )


@given(
    lengths=st.lists(st.integers(400, 20 * SECOND), min_size=1, max_size=8),
    budget=st.integers(400, 60 * SECOND),
    start=START,
)
def test_no_plan_is_cheaper(lengths: list[int], budget: int, start: int) -> None:
    forwards = plan_forwards(lengths, max_padded=budget, start=start)
    planned = [[lengths[index] for index in forward] for forward in forwards]
    others = [
        plan
        for plan in _splits(sorted(lengths))
        if all(len(forward) == 1 or _is_allowed(forward, budget) for forward in plan)
    ]
    assert _cost(planned, start) == min(_cost(plan, start) for plan in others)


def _is_allowed(forward: list[int], budget: int) -> bool:
    padded = len(forward) * max(forward)
    return padded <= budget and padded - sum(forward) <= max(MAX_WASTE * padded, FREE_WASTE)


def _cost(plan: list[list[int]], start: int) -> int:
    return sum(start + len(forward) * max(forward) for forward in plan)


def _splits(lengths: list[int]) -> Iterator[list[list[int]]]:
    """Every way to cut a list."""
    for cuts in range(1 << (len(lengths) - 1)):
        places = [place + 1 for place in range(len(lengths) - 1) if cuts >> place & 1]
        yield [lengths[a:b] for a, b in pairwise([0, *places, len(lengths)])]


def test_like_lengths_share_a_forward_and_a_long_window_goes_alone() -> None:
    lengths = [20 * SECOND, SECOND, 19_000, 15_000, 70 * SECOND, 18_000]
    plan = plan_forwards(lengths, max_padded=60 * SECOND, start=SECOND)
    assert plan == [[3, 1, 5, 2], [0], [4]]


def test_padding_is_worth_no_more_than_the_start_that_it_saves() -> None:
    lengths = [SECOND, SECOND + 7_000]
    assert plan_forwards(lengths, max_padded=60 * SECOND, start=6_000) == [[0], [1]]
    assert plan_forwards(lengths, max_padded=60 * SECOND, start=8_000) == [[0, 1]]


@given(lengths=LENGTHS, windows=st.integers(1, 3))
def test_no_forward_is_wider_than_the_engine_takes(lengths: list[int], windows: int) -> None:
    forwards = plan_forwards(lengths, max_padded=60 * SECOND, start=SECOND, max_windows=windows)
    assert sorted(index for forward in forwards for index in forward) == list(range(len(lengths)))
    assert all(len(forward) <= windows for forward in forwards)


def test_nothing_to_plan() -> None:
    assert plan_forwards([], max_padded=1, start=1) == []
