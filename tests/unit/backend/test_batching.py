from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asr_backend.batching import FREE_WASTE, MAX_WASTE, plan_forwards

SECOND = 16_000
LENGTHS = st.lists(st.integers(400, 20 * SECOND), max_size=40)


@given(lengths=LENGTHS, budget=st.integers(400, 60 * SECOND))
def test_every_plan_keeps_its_promises(lengths: list[int], budget: int) -> None:
    forwards = plan_forwards(lengths, max_padded=budget)
    assert sorted(index for forward in forwards for index in forward) == list(range(len(lengths)))
    longest = [max(lengths[index] for index in forward) for forward in forwards]
    assert longest == sorted(longest)
    for forward, length in zip(forwards, longest, strict=True):
        padded = length * len(forward)
        waste = padded - sum(lengths[index] for index in forward)
        assert len(forward) == 1 or padded <= budget
        assert waste <= max(MAX_WASTE * padded, FREE_WASTE)


@given(lengths=LENGTHS, budget=st.integers(400, 60 * SECOND))
def test_no_two_neighbours_would_have_fitted_together(lengths: list[int], budget: int) -> None:
    forwards = plan_forwards(lengths, max_padded=budget)
    for forward, following in pairwise(forwards):
        first = lengths[following[0]]
        padded = first * (len(forward) + 1)
        waste = padded - first - sum(lengths[index] for index in forward)
        assert padded > budget or waste > max(MAX_WASTE * padded, FREE_WASTE)


def test_like_lengths_share_a_forward_and_a_long_window_goes_alone() -> None:
    lengths = [20 * SECOND, SECOND, 19_000, 15_000, 70 * SECOND, 18_000]
    assert plan_forwards(lengths, max_padded=60 * SECOND) == [[3, 1, 5, 2], [0], [4]]


@given(lengths=LENGTHS, windows=st.integers(1, 3))
def test_no_forward_is_wider_than_the_engine_takes(lengths: list[int], windows: int) -> None:
    forwards = plan_forwards(lengths, max_padded=60 * SECOND, max_windows=windows)
    assert sorted(index for forward in forwards for index in forward) == list(range(len(lengths)))
    assert all(len(forward) <= windows for forward in forwards)


def test_nothing_to_plan() -> None:
    assert plan_forwards([], max_padded=1) == []
