"""`python -m benchmarks`: this service and its peers on the same clips and weights, in turn.

The exit status is 0 when the run was completed, whatever its results; 2 for a wrong flag.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.checkpoint import SIZES, make_checkpoint
from benchmarks.clips import MIXES
from benchmarks.reference import reference_texts
from benchmarks.registry import SYSTEMS, TOGETHER
from benchmarks.report import draw, markdown, write_csv
from benchmarks.runner import Mix, Plan, Results, measure_together
from tools.command import count, make_parser, run_main, seconds
from tools.machine import describe

BUILD = Path(__file__).resolve().parents[1] / "build" / "benchmarks"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the table, the CSV file and the plot."""
    options = command_line().parse_args(arguments)
    # Threads of one system that spin while they wait would be paid for by all of them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    options.output.mkdir(parents=True, exist_ok=True)
    results = Results()
    logs = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    console.print(f"the servers' logs go to {logs}")
    plan = _plan(options, console)
    machine = f"{describe()}; clips: {', '.join(map(str, plan.mixes))}"
    for names in _groups(options.systems):
        systems = [SYSTEMS[name](options.full) for name in names]
        measure_together(systems, plan, logs, results)
        # After each group, so that a run which is stopped early leaves results.
        page = markdown(results, machine=machine)
        (options.output / "table.md").write_text(page, encoding="utf-8")
        write_csv(results.rows, options.output / "cells.csv")
        draw(results.rows, options.output / "rtfx.svg", machine=machine)
    print(page)
    return 0


def _plan(options: argparse.Namespace, console: Console) -> Plan:
    checkpoint = make_checkpoint(options.build / "checkpoints", options.size)
    mixes = []
    for name in options.mixes:
        count = {"librispeech": options.sentences, "commands": options.commands}[name]
        clips = MIXES[name](count, options.seed)
        console.print(f"making the reference transcripts of {name}")
        texts = reference_texts(checkpoint, clips, folder=options.build / "references")
        mixes.append(Mix(name=name, clips=clips, reference=texts))
    return Plan(
        checkpoint=checkpoint,
        mixes=mixes,
        budget_s=options.cell_s,
        at_once=options.at_once,
        log=console.print,
    )


def _groups(names: Sequence[str]) -> list[list[str]]:
    """The chosen systems, those that are measured together in one group."""
    groups: list[list[str]] = []
    for name in dict.fromkeys(names):
        partners = next((each for each in TOGETHER if name in each), frozenset({name}))
        group = next((each for each in groups if each[0] in partners), None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return groups


def command_line() -> argparse.ArgumentParser:
    """The command line of `python -m benchmarks`."""
    parser = make_parser("benchmarks", __doc__)
    add = parser.add_argument
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="what to measure")
    add("--mixes", nargs="+", choices=MIXES, default=list(MIXES), help="clips to measure with")
    add("--at-once", nargs="+", type=count, help="only these numbers of clips at once")
    add("--full", action="store_true", help="also 64 callers of the service")
    add("--cell-s", type=seconds, default=20.0, help="seconds in which a cell repeats its clips")
    add("--sentences", type=count, default=16, help="clips of 1 to 35 s")
    add("--commands", type=count, default=20, help="clips of 1 to 3 s")
    add("--size", choices=SIZES, default="base", help="of the network")
    add("--seed", type=int, default=0, help="of the clips")
    add("--output", type=Path, default=BUILD / "latest", help="folder for the results")
    add("--build", type=Path, default=BUILD, help="folder for weights and reference transcripts")
    return parser


if __name__ == "__main__":
    run_main(main, "benchmarks: stopped")
