from __future__ import annotations

import pytest

from asr_backend.front import stages as stages_module
from asr_backend.front.stages import Stages


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stages_module, "time", clock)
    return clock


def test_blocks_of_a_stage_add_up_and_the_total_is_the_time_since_the_start(clock: Clock) -> None:
    stages = Stages()
    for seconds in (1.0, 2.0):
        with stages.stage("decode"):
            clock.now += seconds
    clock.now += 4.0
    with stages.stage("ctc"):
        clock.now += 0.5
    assert stages.seconds() == {"decode": 3.0, "acoustic": 0.0, "ctc": 0.5, "total": 7.5}


def test_the_time_of_a_block_that_fails_counts_too(clock: Clock) -> None:
    stages = Stages()

    def fail() -> None:
        clock.now += 2.0
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), stages.stage("acoustic"):
        fail()
    assert stages.seconds()["acoustic"] == 2.0
