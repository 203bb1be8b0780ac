"""`python -m load_tests.perf_analyzer_check PROGRAM`: the same load by our callers and NVIDIA's.

Both keep the same number of calls with the same clips in flight, in turn and several times, since a
machine's speed drifts. The exit status is 0 when the medians of their throughputs lie within the
tolerance, 1 when they do not or a run failed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from load_tests.perf_analyzer_data import as_sent, input_data
from load_tests.run.closed_loop import closed_loop
from load_tests.run.corpus import Clip, build_corpus
from tools.command import make_parser, run_main
from tools.local_server import local_server

WINDOWS = 3
"""perf_analyzer measures windows one after the other and averages the last three."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = command_line().parse_args(arguments)
    corpus = build_corpus(seed=options.seed)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = input_data(as_sent(corpus, options.seed))
        (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
        try:
            flags = [f"--model={options.model}"] if options.model else []
            url = options.url or stack.enter_context(local_server(*flags)).url
            ours, theirs = _in_turn(options, url, corpus, folder)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            print(f"perf_analyzer_check: {error}", file=sys.stderr)
            return 1
    ratio = statistics.median(ours) / statistics.median(theirs)
    agree = abs(ratio - 1) <= options.tolerance
    print(
        f"medians {statistics.median(ours):.2f} and {statistics.median(theirs):.2f} calls/s, ours "
        f"over theirs {ratio:.3f}: {'within' if agree else 'not within'} {options.tolerance:.0%}"
    )
    return 0 if agree else 1


def _in_turn(
    options: argparse.Namespace, url: str, corpus: Sequence[Clip], folder: Path
) -> tuple[list[float], list[float]]:
    """Calls answered in a second, round by round."""
    ours, theirs = [], []
    for index in range(options.rounds):
        stretch = closed_loop(
            url,
            None,
            concurrency=options.concurrency,
            duration_s=options.duration_s,
            warm_up_s=2.0,
            corpus=corpus,
            seed=options.seed,
        )
        tally = stretch.tally
        ours.append((tally.requests - tally.failed) / stretch.duration_s)
        theirs.append(_perf_analyzer(options, url, folder))
        print(f"round {index + 1}: {ours[-1]:.2f} and {theirs[-1]:.2f} calls/s", flush=True)
    return ours, theirs


def _perf_analyzer(options: argparse.Namespace, url: str, folder: Path) -> float:
    """One run of NVIDIA's program.

    Raises:
        RuntimeError: it failed, or wrote no throughput.
    """
    report = folder / "report.csv"
    report.unlink(missing_ok=True)
    window_ms = round(1000 * options.duration_s / WINDOWS)
    command = [
        *(options.perf_analyzer, "-m", "transcribe", "-i", "grpc", "-u", url, "--async"),
        *("--input-data", str(folder / "data.json"), "-f", str(report)),
        *("--concurrency-range", str(options.concurrency)),
        # Each of its threads takes every n-th clip, and those with short ones send more.
        *("--max-threads", "1"),
        *("--measurement-interval", str(window_ms), "--max-trials", str(WINDOWS)),
        # The last three windows count whatever they say: the rounds are what is compared.
        *("--stability-percentage", "999"),
    ]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60 + 10 * options.duration_s,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"{options.perf_analyzer}: {(run.stdout + run.stderr).strip()}")
    with report.open(encoding="utf-8", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row.get("Inferences/Second")]
    if not rows:
        raise RuntimeError(f"{options.perf_analyzer}: no throughput in its report")
    return float(rows[0]["Inferences/Second"])


def command_line() -> argparse.ArgumentParser:
    """The command line of `python -m load_tests.perf_analyzer_check`."""
    doc = "Compares the throughput that our callers see with perf_analyzer's."
    parser = make_parser("load_tests.perf_analyzer_check", doc)
    add = parser.add_argument
    add("perf_analyzer", help="NVIDIA's program")
    add("--url", help="HOST:PORT of a running server; without it one is started")
    add("--model", help="checkpoint of that server; the embedded demo where it is not named")
    add("--concurrency", type=int, default=8, help="calls in flight")
    add("--duration-s", type=float, default=12.0, help="of a run; perf_analyzer's are longer")
    add("--rounds", type=int, default=3, help="runs of each")
    add("--tolerance", type=float, default=0.05, help="greatest distance of the medians")
    add("--seed", type=int, default=0, help="of the clips")
    return parser


if __name__ == "__main__":
    run_main(main)
