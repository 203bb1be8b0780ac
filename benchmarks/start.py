"""`python -m benchmarks.start`: how long a start takes, and how much memory `wav2vec2` has then.

Each round starts the server three times: from the checkpoint itself, as without a cache folder; for
the first time with one, which measures and prepares; and again, from what is kept. The three take
turns, so that other work on the machine meets all of them.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from asr_backend.checkpoint.description import demo_checkpoint
from benchmarks.checkpoint import SIZES, make_checkpoint
from tools.command import make_parser, run_main
from tools.local_server import local_server
from tools.machine import describe
from tools.markdown import table
from tools.processes import repeated, tree

BUILD = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
_LOOK_S = 0.2
TITLES = ["start", "ready, s", "processor seconds", "USS of wav2vec2, MiB", "its peak, MiB"]
TITLES += ["peak of all processes, MiB"]


def start(flags: list[str]) -> tuple[float, ...]:
    """Start a server and stop it; the figures of a row of TITLES."""
    peaks = [0]
    used_s: dict[int, float] = {}

    def look() -> None:
        total = 0
        for process in tree(os.getpid())[1:]:
            try:
                total += process.memory_full_info().pss
                times = process.cpu_times()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            used_s[process.pid] = times.user + times.system
        peaks.append(total)

    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as log,
        repeated(look, _LOOK_S),
        local_server("--frontends=2", "--stream-frontends=0", *flags, log=log) as server,
    ):
        ready_s = time.perf_counter() - began
        look()
        (process,) = server.stubs("wav2vec2")
        own = process.memory_full_info().uss
        status = Path(f"/proc/{process.pid}/status").read_text()
        (peak_kib,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return ready_s, sum(used_s.values()), own / 2**20, int(peak_kib) / 2**10, max(peaks) / 2**20


def starts(model: Path, precision: str) -> Iterator[tuple[str, Callable[[], tuple[float, ...]]]]:
    """The three kinds of a start in their order; the last needs the one before it."""
    cache = tempfile.TemporaryDirectory()
    flags = [f"--model={model}", f"--precision={precision}", "--device=cpu"]
    kept = [*flags, f"--cache-dir={cache.name}"]
    yield "from the checkpoint", lambda: start([*flags, "--cache-dir=/dev/null/none"])
    yield "the first", lambda: start(kept)
    yield "the second", lambda: start(kept)
    cache.cleanup()


def report(model: Path, precision: str, rounds: int) -> str:
    """Medians of the rounds as a table."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for _ in range(rounds):
        for name, run in starts(model, precision):
            found.setdefault(name, []).append(run())
    rows = []
    for name, runs in found.items():
        medians = [statistics.median(column) for column in zip(*runs, strict=True)]
        rows.append((name, *(f"{each:.1f}" for each in medians[:2]), *map(_whole, medians[2:])))
    return f"`--precision {precision}`, medians of {rounds}.\n\n{table(TITLES, rows)}\n"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print Markdown; the exit status is 0 when the run was completed."""
    parser = make_parser("benchmarks.start", __doc__)
    parser.add_argument("--sizes", nargs="+", choices=("demo", *SIZES), default=["demo", "base"])
    parser.add_argument("--precisions", nargs="+", default=["bf16", "auto"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", type=Path, default=BUILD, help="where checkpoints are kept")
    options = parser.parse_args(arguments)
    print(f"{describe()}\n")
    for size in options.sizes:
        folder = options.build / "checkpoints"
        model = demo_checkpoint() if size == "demo" else make_checkpoint(folder, size)
        for precision in options.precisions:
            print(f"{size}, {report(model, precision, options.rounds)}")
    return 0


if __name__ == "__main__":
    run_main(main)
