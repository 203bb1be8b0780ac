"""The signs of life of a process, as the supervisor reads them."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asr_backend.triton_io import progress
from asr_backend.triton_io.progress import HANG_S, MARGIN, Progress, Signs, read_signs


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(progress, "BEAT_S", 0.01)
    monkeypatch.setenv(progress.PREFIX_VARIABLE, str(tmp_path / "progress-"))
    return tmp_path / f"progress-{progress.os.getpid()}"


def signs(path: Path) -> Signs:
    found = read_signs(path)
    assert found is not None
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_living_process_beats_and_its_work_counts(path: Path) -> None:
    mine = Progress.of_this_process()
    first = signs(path)
    assert (first.busy, first.patience_s) == (0, math.inf)
    until(lambda: signs(path).beats > first.beats + 2)
    with mine.work():
        assert signs(path).busy == 1
        steps = signs(path).steps
        mine.expect(1.0)
        mine.done(1.0, took_s=0.2)
        assert signs(path).steps == steps + 2
    assert signs(path).busy == 0


def test_a_step_may_take_as_long_as_its_size_and_those_before_tell(path: Path) -> None:
    mine = Progress.of_this_process()
    mine.expect(1.0)
    assert signs(path).patience_s == HANG_S
    mine.done(1.0, took_s=0.5)
    # From a warm-up of a second follows how long 20 s may take.
    mine.expect(20.0)
    assert signs(path).patience_s == pytest.approx(MARGIN * 10)
    mine.done(20.0, took_s=4.0)
    mine.expect(0.1)
    assert signs(path).patience_s == pytest.approx(MARGIN * 4)


def test_an_event_loop_that_stands_still_gives_no_beat(path: Path) -> None:
    mine = Progress.of_this_process()
    go_on = threading.Event()

    async def stand_still() -> None:
        mine.beat_with(asyncio.get_running_loop())
        await asyncio.sleep(0.05)
        go_on.wait()
        await asyncio.sleep(0.05)

    thread = threading.Thread(target=asyncio.run, args=(stand_still(),))
    thread.start()
    try:

        def rests() -> bool:
            before = signs(path).beats
            time.sleep(0.1)
            return signs(path).beats == before

        until(rests)
        rested = signs(path).beats
    finally:
        go_on.set()
        thread.join()
    assert signs(path).beats > rested


def test_without_asr_server_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.PREFIX_VARIABLE, raising=False)
    threads = threading.active_count()
    mine = Progress.of_this_process()
    with mine.work():
        mine.expect(1.0)
    assert threading.active_count() == threads


def test_what_is_not_such_a_file_says_nothing(tmp_path: Path) -> None:
    assert read_signs(tmp_path / "nothing") is None
    (tmp_path / "short").write_bytes(b"123")
    assert read_signs(tmp_path / "short") is None
