"""Starts systems, measures their cells, and makes rows of them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cells import Cell, run_in_turn
from benchmarks.clips import Clip
from benchmarks.memory import peak_memory
from benchmarks.rows import Row, row_of
from benchmarks.systems.base import CannotRun, System


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Clips, and the transcript that each of them should have."""

    name: str
    clips: Sequence[Clip]
    reference: Sequence[str]

    def __str__(self) -> str:
        seconds = sum(clip.duration_s for clip in self.clips)
        return f"{self.name} {len(self.clips)} of {seconds:.0f} s"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        checkpoint: in Hugging Face's format.
        mixes: of clips.
        budget_s: passes of a cell are repeated while they fit into this many seconds.
        at_once: measures only these numbers of clips at once; None for all that a system names.
        log: takes lines about the progress.
    """

    checkpoint: Path
    mixes: Sequence[Mix]
    budget_s: float
    at_once: Sequence[int] | None
    log: Callable[[str], None]


@dataclass(frozen=True)
class Results:
    """What was measured.

    Attributes:
        rows: of all systems, also of those that do not run here.
        cells: those in which something was answered.
    """

    rows: list[Row] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)


def measure_together(systems: Sequence[System], plan: Plan, logs: Path, results: Results) -> None:
    """Start systems side by side, run their cells in turn, stop them, and add to the results."""
    with contextlib.ExitStack() as stack:
        running: dict[System, int] = {}
        for system in systems:
            plan.log(f"starting {system.name}")
            stack.callback(system.stop)
            work = Path(tempfile.mkdtemp(dir=logs))
            try:
                running[system] = system.start(plan.checkpoint, work)
                _warm_up(system, plan.mixes)
            except CannotRun as error:
                running.pop(system, None)
                plan.log(f"{system.name}: {error}")
                results.rows.extend(
                    Row(
                        mix=mix.name, system=system.name, at_once=system.at_once[0], note=str(error)
                    )
                    for mix in plan.mixes
                )
        for mix in plan.mixes:
            _measure(running, mix, plan, results)


def _warm_up(system: System, mixes: Sequence[Mix]) -> None:
    """Send the shortest and the longest clip of each mix: the first calls of a length are slow.

    Raises:
        CannotRun: a call failed.
    """
    for mix in mixes:
        by_length = sorted(mix.clips, key=lambda clip: clip.duration_s)
        for clip in (by_length[0], by_length[-1]):
            try:
                system.call([clip.wav])
            except Exception as error:
                raise CannotRun(
                    f"its first call failed: {type(error).__name__}: {error}"
                ) from error


def _measure(running: Mapping[System, int], mix: Mix, plan: Plan, results: Results) -> None:
    cells = [
        Cell(system=system, pid=pid, at_once=at_once, mix=mix.name)
        for system, pid in running.items()
        for at_once in system.at_once
        if plan.at_once is None or at_once in plan.at_once
    ]
    plan.log(f"{mix.name}: " + ", ".join(f"{c.system.name} ({c.at_once})" for c in cells))
    with contextlib.ExitStack() as stack:
        peaks = {system: stack.enter_context(peak_memory(pid)) for system, pid in running.items()}
        run_in_turn(cells, mix.clips, budget_s=plan.budget_s)
    alone = {cell.system: cell for cell in cells if cell.at_once == 1}
    for cell in cells:
        row = row_of(
            cell,
            reference=mix.reference,
            alone=alone.get(cell.system),
            peak_bytes=max(peaks[cell.system]),
        )
        results.rows.append(row)
        if row.rtfx is not None:
            results.cells.append(cell)
        plan.log(f"  {row.system} ({row.at_once}): RTFx {row.rtfx or 0:.2f} {row.note}")
