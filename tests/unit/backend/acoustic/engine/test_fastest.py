"""The rule by which `auto` chooses, on a clock that moves as the forwards say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asr_backend.acoustic.engine.fastest import BUDGET_S, LENGTHS_S, Fastest, find_fastest


class Machine:
    """Forwards that take a given time for a second of audio, the first of a length longer."""

    def __init__(self, **cost_s: float) -> None:
        self.cost_s = cost_s
        self.now_s = 0.0
        self.ran: list[tuple[str, int]] = []
        self.first_s = 0.0

    def candidates(self) -> dict[str, Callable[[int], object]]:
        def run(name: str) -> Callable[[int], object]:
            def forward(seconds: int) -> None:
                is_new = (name, seconds) not in self.ran
                self.ran.append((name, seconds))
                self.now_s += self.cost_s[name] * seconds + self.first_s * is_new

            return forward

        return {name: run(name) for name in self.cost_s}

    def fastest(self) -> Fastest:
        return find_fastest(self.candidates(), clock=lambda: self.now_s)


def test_the_fastest_by_the_sum_of_all_lengths() -> None:
    machine = Machine(fp32=0.03, bf16=0.02, int8=0.025)
    fastest = machine.fastest()
    assert fastest.name == "bf16"
    assert fastest.lengths_s == LENGTHS_S
    assert fastest.seconds["int8"] == pytest.approx(0.025 * sum(LENGTHS_S))
    assert str(fastest).startswith("measured for 1 + 3 + 10 + 20 s of audio: fp32 1.02 s, bf16 0.")


@pytest.mark.parametrize(("int8", "taken"), [(0.0196, "bf16"), (0.0193, "int8")])
def test_within_three_per_cent_the_more_exact_one_wins(int8: float, taken: str) -> None:
    assert Machine(bf16=0.02, int8=int8).fastest().name == taken


def test_a_length_that_is_new_does_not_count() -> None:
    machine = Machine(bf16=0.02, int8=0.01)
    machine.first_s = 0.1
    assert machine.fastest().seconds["int8"] == pytest.approx(0.01 * sum(LENGTHS_S))


def test_a_hopeless_one_is_timed_once() -> None:
    machine = Machine(fp32=0.2, bf16=0.02, int8=0.03)
    fastest = machine.fastest()
    assert machine.ran.count(("fp32", 1)) == 1
    assert ("fp32", 3) not in machine.ran
    assert fastest.seconds.keys() == {"bf16", "int8"}


def test_the_last_one_left_is_not_timed() -> None:
    machine = Machine(fp32=0.2, int8=0.02)
    assert machine.fastest().name == "int8"
    assert machine.ran == [("fp32", 1), ("int8", 1)]


@pytest.mark.parametrize("cost_s", [0.05, 0.1, 0.5, 1.0])
def test_a_slow_machine_times_fewer_lengths_within_the_budget(cost_s: float) -> None:
    machine = Machine(bf16=cost_s, int8=0.8 * cost_s)
    fastest = machine.fastest()
    assert fastest.name == "int8"
    assert machine.now_s <= BUDGET_S
    assert fastest.lengths_s == LENGTHS_S[: len(fastest.lengths_s)] != LENGTHS_S


def test_a_machine_beyond_the_budget_times_the_shortest_length() -> None:
    machine = Machine(bf16=9.0, int8=8.0)
    assert machine.fastest().lengths_s == (1,)
    assert machine.ran == [("bf16", 1), ("int8", 1)]


def test_one_candidate_needs_no_second_forward() -> None:
    machine = Machine(fp32=0.1)
    assert machine.fastest().name == "fp32"
    assert machine.ran == [("fp32", 1)]
