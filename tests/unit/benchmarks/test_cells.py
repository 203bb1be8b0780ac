import os
import time

import pytest

from benchmarks.cells import Cell, run_in_turn
from benchmarks.clips import Clip
from tests.support.benchmarks.doubles import FakeSystem

CLIPS = [Clip(wav=bytes([index]), duration_s=index + 1.0) for index in range(5)]


def test_a_server_is_called_with_one_clip():
    system = FakeSystem(at_once=(2,))
    cell = Cell(system=system, pid=os.getpid(), at_once=2, mix="m")
    cell.run_pass(CLIPS)
    assert system.call_sizes == [1] * 5
    assert sorted(index for call in cell.calls for index in call.clips) == [0, 1, 2, 3, 4]
    assert cell.passes[0].audio_s == 15


def test_a_program_is_handed_batches_and_keeps_its_own_time():
    system = FakeSystem(takes_batches=True, took_s=2.0)
    cell = Cell(system=system, pid=os.getpid(), at_once=2, mix="m")
    cell.run_pass(CLIPS)
    assert system.call_sizes == [2, 2, 1]
    assert cell.passes[0].wall_s == 6.0
    assert cell.rtfx == 15 / 6


def test_a_failed_call_is_kept_and_its_audio_is_not_counted():
    def transcribe(wav: bytes) -> str:
        if wav == b"\x04":
            raise ConnectionError("gone")
        return "a"

    cell = Cell(system=FakeSystem(transcribe=transcribe), pid=os.getpid(), at_once=1, mix="m")
    cell.run_pass(CLIPS)
    assert [call.error for call in cell.calls if call.error] == ["ConnectionError: gone"]
    assert cell.passes[0].audio_s == 10


def test_cells_run_in_turn_until_the_next_pass_would_not_fit():
    slow, fast = (
        Cell(
            system=FakeSystem(takes_batches=True, took_s=seconds),
            pid=os.getpid(),
            at_once=5,
            mix="m",
        )
        for seconds in (20.0, 4.0)
    )
    run_in_turn([slow, fast], CLIPS, budget_s=10)
    assert (len(slow.passes), len(fast.passes)) == (1, 2)


def test_the_padding_is_that_of_the_pass():
    cell = Cell(system=FakeSystem(), pid=os.getpid(), at_once=1, mix="m")
    cell.run_pass(CLIPS)
    cell.run_pass(CLIPS)
    assert [each.padding.padded_s for each in cell.passes] == pytest.approx([20.0, 20.0])


def test_processor_time_is_counted():
    def transcribe(wav: bytes) -> str:
        ends = time.process_time() + 0.05
        while time.process_time() < ends:
            pass
        return "a"

    cell = Cell(system=FakeSystem(transcribe=transcribe), pid=os.getpid(), at_once=1, mix="m")
    cell.run_pass(CLIPS)
    assert 0.2 < cell.passes[0].cpu_s < 5
    assert cell.cpu_per_audio == cell.passes[0].cpu_s / 15
