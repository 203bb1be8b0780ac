"""What a server answers under ten times the load that it can take.

    python -m benchmarks.overload --timeouts-s 5 10 60

Starts asr-server with a network of random weights. First, callers in a closed loop find its peak:
calls answered in a second. Then calls begin at ten times that rate, whether or not earlier ones are
answered, each with the same time limit, and none is sent again. Prints a Markdown table: the peak
before and after; goodput, which is calls answered within their limit in a second, without the first
stretch in which queues fill; the share of the computed audio that no caller got; and how long a
refused caller waits. The calls are made by this process, on the server's own cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from asr_client import AsrError, AsyncClient, RetryPolicy, ServerBusy
from benchmarks.__main__ import BUILD
from benchmarks.checkpoint import SIZES, make_checkpoint
from benchmarks.clips import MIXES, Clip
from load_tests.report.metrics_page import MetricsPage
from tools.command import count, make_parser, run_main, seconds
from tools.local_server import LocalServer, local_server
from tools.machine import describe
from tools.markdown import head, row

ONCE = RetryPolicy(max_attempts=1)
CALLERS = 16
PEAK_LIMIT_S = 300.0
COLUMNS = (
    *("clips", "time limit, s", "peak before, after, calls/s", "sent, calls/s"),
    *("goodput, calls/s", "goodput / peak before", "computed for nobody"),
    *("refusals p50, p99, ms", "ends"),
)


@dataclass
class Seen:
    """Calls that ended in the stretch that counts; `audio_s` also has those before and after it."""

    audio_s: float = 0.0
    answered: int = 0
    refused_s: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)


async def call(client: AsyncClient, clip: Clip, seen: Seen, since_s: float) -> None:
    """Send a clip; count its end if that comes after `since_s`."""
    began_s = time.perf_counter()
    try:
        await client.transcribe(clip.wav)
        end = "answered"
        seen.audio_s += clip.duration_s
    except AsrError as error:
        end = type(error).__name__
    now_s = time.perf_counter()
    if now_s < since_s:
        return
    seen.ends[end] += 1
    seen.answered += end == "answered"
    if end == ServerBusy.__name__:
        seen.refused_s.append(now_s - began_s)


async def peak(url: str, clips: Sequence[Clip], duration_s: float) -> float:
    """Calls answered in a second, with CALLERS callers in a closed loop."""
    seen, order = Seen(), itertools.cycle(clips)
    began_s = time.perf_counter()
    since_s = began_s + duration_s / 4

    async def go_on() -> None:
        while time.perf_counter() < began_s + duration_s:
            await call(client, next(order), seen, since_s)

    async with AsyncClient(url, timeout_s=PEAK_LIMIT_S, retry=ONCE) as client:
        await asyncio.gather(*(go_on() for _ in range(CALLERS)))
    return seen.answered / (time.perf_counter() - since_s)


async def flood(
    url: str, clips: Sequence[Clip], *, rate: float, timeout_s: float, duration_s: float
) -> tuple[Seen, float, float]:
    """Begin `rate` calls a second; what was seen, its seconds, and the rate that was sent.

    The stretch that counts begins when the first calls' time limit is over.
    """
    seen, order, sent = Seen(), itertools.cycle(clips), 0
    began_s = time.perf_counter()
    since_s = began_s + timeout_s
    end_s = since_s + duration_s
    running: set[asyncio.Task[None]] = set()
    async with AsyncClient(url, timeout_s=timeout_s, retry=ONCE) as client:
        while (now_s := time.perf_counter()) < end_s:
            while sent < rate * (now_s - began_s):
                task = asyncio.create_task(call(client, next(order), seen, since_s))
                running.add(task)
                task.add_done_callback(running.discard)
                sent += 1
            await asyncio.sleep(0.01)
        took_s = time.perf_counter() - since_s
        counted = replace(seen, refused_s=list(seen.refused_s), ends=Counter(seen.ends))
        await asyncio.gather(*running)
    counted.audio_s = seen.audio_s
    return counted, took_s, sent / (end_s - began_s)


def computed_s(server: LocalServer) -> float:
    """Seconds of audio that the network has computed, once nothing is left to do."""
    while (page := MetricsPage.scrape(server.metrics_url)).value("asr_windows_in_flight"):
        time.sleep(0.1)
    return page.value("asr_audio_seconds_total")


def rows(server: LocalServer, options: argparse.Namespace) -> Iterator[str]:
    """The rows of the table."""
    for mix in options.mixes:
        clips = MIXES[mix](16, 0)
        for timeout_s in options.timeouts_s:
            before = asyncio.run(peak(server.url, clips, options.seconds))
            computed_before_s = computed_s(server)
            seen, took_s, sent = asyncio.run(
                flood(
                    server.url,
                    clips,
                    rate=options.times * before,
                    timeout_s=timeout_s,
                    duration_s=options.seconds,
                )
            )
            for_nobody = 1 - seen.audio_s / (computed_s(server) - computed_before_s)
            after = asyncio.run(peak(server.url, clips, options.seconds))
            good = seen.answered / took_s
            refused = 1000 * np.array(seen.refused_s or [np.nan])
            yield row(
                *(mix, f"{timeout_s:g}", f"{before:.1f}, {after:.1f}", f"{sent:.0f}"),
                *(f"{good:.1f}", f"{good / before:.2f}"),
                f"{for_nobody:.0%}",
                f"{np.quantile(refused, 0.5):.0f}, {np.quantile(refused, 0.99):.0f}",
                ", ".join(f"{number} {end}" for end, number in seen.ends.most_common()),
            )


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = make_parser("benchmarks.overload", __doc__)
    add = parser.add_argument
    add("--mixes", nargs="+", choices=MIXES, default=["commands"], help="clips to send")
    add("--timeouts-s", nargs="+", type=seconds, default=[5.0, 20.0], help="of the calls")
    add("--times", type=count, default=10, help="the load, in peaks")
    add("--seconds", type=seconds, default=20.0, help="length of each measurement")
    add("--size", choices=SIZES, default="base", help="of the network")
    add("--server", type=Path, help="asr-server; default: the one beside this Python")
    options = parser.parse_args(arguments)
    checkpoint = make_checkpoint(BUILD / "checkpoints", options.size)
    print(f"{describe()}\n\n{head(*COLUMNS)}", flush=True)
    with (
        open(os.devnull, "wb") as log,
        local_server("--model", str(checkpoint), log=log, program=options.server) as server,
    ):
        for line in rows(server, options):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
