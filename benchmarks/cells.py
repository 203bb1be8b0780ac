"""One cell of the table: a system, a mix of clips, and how many of them at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from benchmarks.clips import Clip
from benchmarks.systems.base import Padding, System
from tools.processes import cpu_s


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a pass.

    Attributes:
        clips: indices into the mix.
        took_s: seconds.
        texts: of the clips, empty when the call failed.
        error: empty when the call succeeded.
    """

    clips: list[int]
    took_s: float
    texts: list[str]
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """All clips of a mix, once.

    Attributes:
        calls: in no order.
        wall_s: from the first call to the last answer.
        audio_s: of the clips that were answered.
        padding: of this pass.
        cpu_s: processor time that the system used for it, in seconds.
    """

    calls: list[Call]
    wall_s: float
    audio_s: float
    padding: Padding
    cpu_s: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio answered in a second."""
        return self.audio_s / self.wall_s


@dataclass
class Cell:
    """A system with one number of clips at once, and its passes so far.

    Attributes:
        system: started.
        pid: of the root of its processes.
        at_once: clips.
        mix: the clips' name.
        passes: so far.
    """

    system: System
    pid: int
    at_once: int
    mix: str
    passes: list[Pass] = field(default_factory=list)

    @property
    def calls(self) -> list[Call]:
        """Those of all passes."""
        return [call for each in self.passes for call in each.calls]

    @property
    def cpu_per_audio(self) -> float:
        """Seconds of processor time for a second of audio."""
        return sum(each.cpu_s for each in self.passes) / sum(each.audio_s for each in self.passes)

    @property
    def rtfx(self) -> float:
        """The median of the passes'."""
        return statistics.median(each.rtfx for each in self.passes)

    def has_time(self, budget_s: float) -> bool:
        """Whether another pass as long as the longest fits; there is always time for one."""
        spent_s = [each.wall_s for each in self.passes]
        return not spent_s or sum(spent_s) + max(spent_s) <= budget_s

    def run_pass(self, clips: Sequence[Clip]) -> None:
        """Send every clip once."""
        self.passes.append(_run_pass(self, clips))


def run_in_turn(cells: Sequence[Cell], clips: Sequence[Clip], *, budget_s: float) -> None:
    """Run one pass of each cell, again and again, until none has time left.

    So a machine that slows down for a while slows all of them.
    """
    while left := [cell for cell in cells if cell.has_time(budget_s)]:
        for cell in left:
            cell.run_pass(clips)


def _run_pass(cell: Cell, clips: Sequence[Clip]) -> Pass:
    system, at_once = cell.system, cell.at_once
    size, callers = (at_once, 1) if system.takes_batches else (1, at_once)
    indices = range(len(clips))
    batches = [list(indices[start : start + size]) for start in indices[::size]]

    def call(batch: list[int]) -> Call:
        began = time.perf_counter()
        try:
            answer = system.call([clips[index].wav for index in batch])
        except Exception as error:
            took_s = time.perf_counter() - began
            return Call(
                clips=batch, took_s=took_s, texts=[], error=f"{type(error).__name__}: {error}"
            )
        took_s = time.perf_counter() - began if answer.took_s is None else answer.took_s
        return Call(clips=batch, took_s=took_s, texts=answer.texts)

    before, cpu_before_s = system.padding(), cpu_s(cell.pid)
    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        calls = list(pool.map(call, batches))
    wall_s = time.perf_counter() - began
    if system.takes_batches:
        wall_s = sum(each.took_s for each in calls)
    answered = [index for each in calls if not each.error for index in each.clips]
    return Pass(
        calls=calls,
        wall_s=wall_s,
        audio_s=sum(clips[index].duration_s for index in answered),
        padding=system.padding() - before,
        cpu_s=cpu_s(cell.pid) - cpu_before_s,
    )
