"""`python -m load_tests.sweep`: measures settings under loads and writes the report.

The exit status is 0 when a point that keeps the target was found, 1 when none was or the sweep
failed, 2 for a wrong flag, 130 after Ctrl-C; the points measured until then are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from load_tests.run.corpus import KINDS, Clip, build_corpus, digest
from load_tests.sweep.budget import STOP_S, Budget
from load_tests.sweep.live_points import sentence
from load_tests.sweep.plan import Defaults, ask_for_defaults, plan
from load_tests.sweep.recommendation import Target, recommend
from load_tests.sweep.runner import NoTime, Runner, take_slice
from load_tests.sweep.settings import DEVICES, ServerSetting
from load_tests.sweep.stability import StabilityRule
from load_tests.sweep.store import OtherSweep, Store, Sweep, read_sweep
from tools.command import (
    count,
    count_or_zero,
    make_parser,
    run_main,
    seconds,
    seconds_or_zero,
    several,
)
from tools.local_server import READY_S, LocalServer, local_server
from tools.machine import machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = command_line().parse_args(arguments)
    try:
        sweep = read_sweep(options.output / "sweep.json") if options.report else _sweep(options)
    except (RuntimeError, OtherSweep, NoTime, OSError, ValueError, TimeoutExpired) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 1
    # Drawing needs a second to load, which no measurement should wait for.
    from load_tests.sweep.report import render

    report = options.output / "report.html"
    report.write_text(render(sweep), encoding="utf-8")
    found = recommend(sweep.points, sweep.target)
    print(*filter(None, (found.sentence, sentence(sweep.live_points, sweep.target))), sep="\n")
    print(f"The report: {report}")
    return 0 if found.point else 1


def _sweep(options: argparse.Namespace) -> Sweep:
    budget = Budget(options.time_limit_s or math.inf)
    shared = [f"--model={options.model}"] if options.model else []
    defaults = ask_for_defaults(shared)
    named = {
        "instances": options.instances,
        "max_batch_size": options.max_batch_size,
        "max_queue_delay_us": options.max_queue_delay_us,
        "threads": options.threads,
        "precision": options.precision,
        "device": options.devices,
    }
    settings = plan(named, defaults)
    corpus = build_corpus(seed=options.seed)
    talks = _talks(options)
    rule = StabilityRule(
        slice_s=options.slice_s,
        slices=options.slices,
        max_slices=max(options.slices, options.max_slices),
        tolerance=options.tolerance,
    )
    store = Store(
        options.output,
        conditions=_conditions(options, defaults, corpus, rule, talks),
        target=_target(options),
    )
    done = () if options.fresh else store.read()
    live_done = () if options.fresh else store.read_live()
    if done or live_done:
        print(f"{len(done) + len(live_done)} points are in {options.output} already", flush=True)
    runner = Runner(
        start=partial(_start, shared, options.output / "server.log"),
        take=take_slice,
        rule=rule,
        corpus=corpus,
        seed=options.seed,
        store=store,
        log=partial(print, flush=True),
        budget=budget,
        talks=talks,
    )
    points = runner.run(
        settings,
        options.concurrency,
        done=done,
        streams=options.live_streams,
        live_done=live_done,
    )
    return store.write(points, runner.live_points)


def _talks(options: argparse.Namespace) -> tuple[Clip, ...]:
    """A clip of one length for each stream of the largest load."""
    if not options.live_streams:
        return ()
    kind = replace(KINDS["talks"], shortest_s=options.live_s, longest_s=options.live_s)
    mix = {"talks": max(options.live_streams)}
    return build_corpus(seed=options.seed, mix=mix, kinds={"talks": kind})


@contextlib.contextmanager
def _start(
    flags: Sequence[str], log: Path, setting: ServerSetting, *, ready_s: float
) -> Iterator[LocalServer]:
    with (
        log.open("ab") as file,
        local_server(
            *flags, *setting.flags(), log=file, ready_s=min(ready_s, READY_S), stop_s=STOP_S
        ) as server,
    ):
        yield server


def _conditions(
    options: argparse.Namespace,
    defaults: Defaults,
    corpus: Sequence[Clip],
    rule: StabilityRule,
    talks: Sequence[Clip],
) -> dict[str, Any]:
    lengths = [clip.duration_s for clip in corpus]
    kinds = Counter(clip.kind for clip in corpus)
    live = {}
    if talks:
        length_s = max(clip.duration_s for clip in talks)
        live["live_streams"] = f"up to {length_s:.1f} s each, digest {digest(talks)[:12]}"
    return {
        "machine": machine(),
        "checkpoint": defaults.checkpoint,
        "fronts": defaults.fronts,
        "clips": f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}, "
        f"{min(lengths):.1f} to {max(lengths):.1f} s, {sum(lengths) / len(lengths):.1f} s on "
        f"average, seed {options.seed}, digest {digest(corpus)[:12]}",
        "rule": str(rule),
        **live,
    }


def _target(options: argparse.Namespace) -> Target:
    mib = options.max_memory_mib
    return Target(
        p95_s=options.max_p95_s,
        memory_bytes=None if mib is None else mib * 2**20,
        failure_share=options.max_failures,
        interim_p95_s=options.max_interim_p95_s,
    )


def command_line() -> argparse.ArgumentParser:
    """The command line of `python -m load_tests.sweep`."""
    doc = "Finds how many callers a machine holds, and the server settings for it."
    parser = make_parser("load_tests.sweep", doc)
    add, rule, target = parser.add_argument, StabilityRule(), Target()
    add("--instances", type=several(count), default=[1, 2, 4], help="wav2vec2 processes a device")
    add("--concurrency", type=several(count), default=[1, 2, 4, 8, 16, 32], help="calls in flight")
    add("--live-streams", type=several(count_or_zero), default=[], help="live streams at a time")
    add("--live-s", type=seconds, default=20, help="length of each, seconds")
    add("--max-batch-size", type=several(count), help="the server's where it is not named")
    add("--max-queue-delay-us", type=several(count_or_zero), help="the same")
    add("--threads", type=several(count_or_zero), help="the same")
    add("--precision", type=several(str), help="the same")
    add("--devices", type=several(_device), help="cpu, gpu; the same")
    add("--model", help="checkpoint; the embedded demo where it is not named")
    add("--output", type=Path, default=Path("build/sweep"), help="folder of the results")
    add("--fresh", action="store_true", help="do not go on with the sweep that is there")
    add("--report", action="store_true", help="only draw the report of the sweep that is there")
    add("--max-p95-s", type=seconds, default=target.p95_s, help="target of p95, seconds")
    add("--max-memory-mib", type=float, help="limit of the server's memory; none by itself")
    interim = "target of p95 of live streams' interims, seconds"
    add("--max-interim-p95-s", type=seconds, default=target.interim_p95_s, help=interim)
    add("--max-failures", type=float, default=target.failure_share, help="share of calls")
    add("--slice-s", type=seconds, default=rule.slice_s, help="length of a slice, seconds")
    add("--slices", type=count, default=rule.slices, help="slices that must agree")
    add("--max-slices", type=count, default=rule.max_slices, help="limit of slices of a point")
    add("--tolerance", type=float, default=rule.tolerance, help="how far they may lie apart")
    limit = "of all measuring, seconds; 0 for none"
    add("--time-limit-s", type=seconds_or_zero, default=840.0, help=limit)
    add("--seed", type=int, default=0, help="of the clips and their order")
    return parser


def _device(text: str) -> str:
    if text not in DEVICES:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(DEVICES)}")
    return text


if __name__ == "__main__":
    run_main(main, "sweep: stopped; the same command goes on where it was")
