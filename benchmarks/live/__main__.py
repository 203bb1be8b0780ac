"""Live recognition: words, latency, and recordings beside it; writes build/live.md.

    python -m benchmarks.live

Starts servers of its own, with the demo checkpoint and with base-960h's shape in random weights.
Each stream plays the six recordings of tests/data in another order, with pauses and faint noise
between, and looks every max(hop, 0.1 x the open segment). Latencies are counted from when a look
was due to its answer; that of a final also contains the pause that ends it. A look is due when its
audio was spoken and the look before is answered.

The tables:

- words: what streams understand, with the demo checkpoint;
- load: streams alone, beside recordings of an hour, the same recordings without streams, and too
  many streams, in turn within each round; and whether the bars are met.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.checkpoint import make_checkpoint
from benchmarks.live import load, words
from benchmarks.live.files import speech, without_pauses
from benchmarks.live.load import Beside, Network
from tools.command import count, make_parser, run_main, seconds
from tools.local_server import local_server
from tools.machine import describe

DEMO = Network(name="demo", hop_s=0.4, streams=30, more_streams=(40,))
BASE = Network(name="base-960h's shape", hop_s=0.5, streams=8)
PARTS = ("words", "demo", "base")
NOISE_MINUTES = 30


def _load(
    network: Network,
    flags: Sequence[str],
    besides: Sequence[Beside],
    many: Beside,
    turn_s: float,
    rounds: int,
) -> Iterator[str]:
    with open(os.devnull, "wb") as log, local_server(*flags, log=log) as server:
        yield from load.lines(
            server,
            network,
            besides,
            many,
            seconds=turn_s,
            rounds=rounds,
            log=lambda line: print(line, file=sys.stderr, flush=True),
        )


def _words() -> Iterator[str]:
    with open(os.devnull, "wb") as log, local_server("--frontends=1", log=log) as server:
        yield from words.lines(server)


def main() -> int:
    """Print the tables, and write them to a file."""
    parser = make_parser("benchmarks.live", __doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=seconds, default=10, help="of a turn, at most 19")
    parser.add_argument("--rounds", type=count, default=2, help="of cells that take turns")
    parser.add_argument("--minutes", type=seconds, default=60, help="of a recording beside streams")
    parser.add_argument("--build", type=Path, default=Path("build"), help="report and checkpoint")
    arguments = parser.parse_args()
    arguments.build.mkdir(parents=True, exist_ok=True)
    with (arguments.build / "live.md").open("w", encoding="utf-8") as report:

        def say(lines: Iterator[str] | Sequence[str]) -> None:
            for line in lines:
                for file in (report, sys.stdout):
                    print(line, file=file, flush=True)

        say([describe(), ""])
        if "words" in arguments.parts:
            say(_words())
            say([""])
        networks: list[tuple[Network, list[str]]] = []
        if "demo" in arguments.parts:
            networks.append((DEMO, []))
        if "base" in arguments.parts:
            folder = make_checkpoint(arguments.build.absolute(), "base")
            networks.append((BASE, [f"--model={folder}"]))
        if networks:
            hour = speech(arguments.minutes)
            besides = [
                Beside(name="speech", file=hour, count=2),
                Beside(name="speech", file=hour, count=1),
                Beside(name="sound without pauses", file=without_pauses(NOISE_MINUTES), count=2),
            ]
            many = Beside(name="speech", file=hour, count=10)
        for network, flags in networks:
            say([load.heading()])
            say(_load(network, flags, besides, many, arguments.seconds, arguments.rounds))
    return 0


if __name__ == "__main__":
    run_main(main)
