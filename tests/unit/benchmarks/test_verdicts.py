import pytest

from benchmarks.cells import Call, Cell, Pass
from benchmarks.systems.base import Padding
from benchmarks.verdicts import latency_over_engine, share_that_reaches_callers, verdicts
from tests.support.benchmarks.doubles import FakeSystem


def cell(name: str, at_once: int, *passes_s: float, is_peer: bool = False) -> Cell:
    """Two clips of 5 s; a pass takes so many seconds, the second clip two thirds of it."""
    system = FakeSystem(name)
    system.is_peer = is_peer
    return Cell(
        system=system,
        pid=0,
        at_once=at_once,
        mix="m",
        passes=[
            Pass(
                calls=[
                    Call(clips=[index], took_s=took_s * (index + 1) / 3, texts=["a"])
                    for index in range(2)
                ],
                wall_s=took_s,
                audio_s=10.0,
                padding=Padding(),
                cpu_s=took_s,
            )
            for took_s in passes_s
        ],
    )


def test_the_share_is_taken_round_by_round_from_the_engine_at_its_best():
    served = cell("s", 16, 2.0, 20.0, 2.0)
    offline = [cell("e", 1, 1.8, 18.0, 1.8), cell("e", 16, 1.0, 19.0, 1.9)]
    assert share_that_reaches_callers(served, offline) == pytest.approx(0.9)


def test_latencies_are_medians_of_each_clip():
    pairs = latency_over_engine(cell("s", 1, 3.3, 6.0, 3.3), cell("e", 1, 3.0))
    assert pairs == [pytest.approx((1.1, 1.0)), pytest.approx((2.2, 2.0))]


def test_the_sentences_say_what_was_met_and_who_was_ahead():
    lines = verdicts(
        [
            cell("this service, auto", 1, 3.0),
            cell("this service, auto", 16, 2.5),
            cell("its engine offline, auto", 1, 2.0),
            cell("quick", 16, 2.0, is_peer=True),
            cell("slow", 16, 9.0, is_peer=True),
        ]
    )
    assert lines == [
        "m, auto: 80% of the offline engine's RTFx reaches 16 callers (bar 90%: missed); of the "
        "processor time that the service uses for them, the engine alone would use 80%.",
        "m, auto: one caller waits no longer than 1.05 times the engine plus 5 ms for 0 of 2 "
        "clips; the median clip takes 500.0 ms more than in the engine.",
        "m, 16 at once: this service, auto (RTFx 4.0) is behind quick (5.0).",
    ]
