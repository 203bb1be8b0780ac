"""What Prometheus's scrapes cost: processor time of a scrape of both pages, under load.

    python -m benchmarks.scrapes

Starts a server of its own and keeps callers busy. In turn it leaves the pages alone and scrapes
them many times as often as Prometheus does. Only tritonserver and asr-server answer scrapes, so
the difference of their own processor time, over the scrapes, is what one costs; the network's
processes do not count. Throughput itself would differ more from run to run than scrapes cost.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from asr_client import Client
from benchmarks.checkpoint import SIZES, make_checkpoint
from tools.command import count, make_parser, run_main
from tools.local_server import LocalServer, local_server
from tools.machine import describe
from tools.markdown import table
from tools.recordings import transcripts

INTERVAL_S = 5.0
"""Between two scrapes of monitoring/prometheus/prometheus.yml."""
_PAUSE_S = 0.1
_CALLERS = 4


def pages_cpu_s(server: LocalServer) -> float:
    """Processor seconds so far of tritonserver and asr-server, without the models' processes."""
    own = psutil.Process(server.process.pid)
    processes = [own, *(each for each in own.children() if each.name() == "tritonserver")]
    return sum(sum(each.cpu_times()[:2]) for each in processes)


@contextlib.contextmanager
def busy(server: LocalServer) -> Iterator[None]:
    """Callers with one recording after the other, during the block."""
    over = threading.Event()

    def call_on(client: Client) -> None:
        for number in range(10**9):
            if over.is_set():
                return
            client.transcribe(clips[number % len(clips)])

    clips = [path.read_bytes() for path, _ in transcripts()]
    with Client(server.url, timeout_s=300) as client:
        threads = [threading.Thread(target=call_on, args=(client,)) for _ in range(_CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def turn(server: LocalServer, seconds: float, *, scraped: bool) -> tuple[float, int]:
    """Processor seconds a second of the two processes for a while, and the scrapes in it."""
    pages = (server.metrics_url, f"http://127.0.0.1:{server.health_port}/metrics")
    scrapes, before_s, began_s = 0, pages_cpu_s(server), time.monotonic()
    while time.monotonic() < began_s + seconds:
        if scraped:
            for page in pages:
                with urllib.request.urlopen(page, timeout=60) as answer:
                    answer.read()
            scrapes += 1
        time.sleep(_PAUSE_S)
    return (pages_cpu_s(server) - before_s) / (time.monotonic() - began_s), scrapes


def scrape_cpu_s(server: LocalServer, turns: int, turn_s: float) -> list[float]:
    """Processor seconds of a scrape of both pages, from each pair of turns."""
    found = []
    for _ in range(turns):
        quiet, _ = turn(server, turn_s, scraped=False)
        scraped, scrapes = turn(server, turn_s, scraped=True)
        found.append((scraped - quiet) * turn_s / max(1, scrapes))
    return found


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = make_parser("benchmarks.scrapes", __doc__)
    parser.add_argument("--size", choices=SIZES, default="base", help="shape of the network")
    parser.add_argument("--turns", type=count, default=10, help="pairs of turns")
    parser.add_argument("--turn-s", type=float, default=8.0, help="seconds of a turn")
    parser.add_argument("--build", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    model = make_checkpoint(options.build / "checkpoints", options.size)
    cores = len(os.sched_getaffinity(0))
    with (
        open(os.devnull, "wb") as log,
        local_server(f"--model={model}", "--frontends=2", log=log) as server,
        busy(server),
    ):
        turn(server, options.turn_s, scraped=True)
        found = scrape_cpu_s(server, options.turns, options.turn_s)
    rows = []
    for name, value in (("median", statistics.median(found)), ("maximum", max(found))):
        rows.append([name, f"{1000 * value:.1f} ms", f"{value / INTERVAL_S / cores:.3%}"])
    titles = ("of the pairs", "processor time of a scrape", f"share of {cores} cores, every 5 s")
    print(f"{describe()}; {options.size}, {options.turns} pairs\n\n{table(titles, rows)}")
    return 0


if __name__ == "__main__":
    run_main(main)
