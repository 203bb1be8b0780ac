"""Kills and stops each kind of process of a real server, idle and under load, at random moments.

    python -m tools.faults [--times 5] [--processes wav2vec2] [--full-queue-s 120]

Prints a Markdown table, a row for each kind of process and fault: how often `asr-server` lived on,
how soon `/readyz` reported it, how soon all processes were back, how many calls the SDK could not
save, how many answers were wrong, and what was left in shared memory. The exit status is 1 where
a limit below is not kept. All traffic stays on this machine.

Then a network of base-960h's shape gets more windows of 20 s than it can compute, for two minutes:
a server at work must not look like one that hangs. `tools.live_faults` does the like to live
streams.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from asr_client import AsrError, Client
from benchmarks.checkpoint import make_checkpoint
from tests.support import recordings
from tools.local_server import LocalServer, local_server
from tools.machine import describe

KINDS = ("wav2vec2", "transcribe", "transcribe_stream", "tritonserver")
FAULTS = ("SIGKILL", "SIGSTOP", "SIGSTOP, SIGCONT after 2 s")
CALLERS = 8
REPORTED_S = 10.0
"""`/readyz` has to tell the truth within so many seconds."""
RESTORED_S = 12.0
"""And the server has to be restored within so many seconds more than the models take to load."""
_FAULTS_A_SERVER = 3
"""A fourth death within ten minutes is healed after a pause."""
_LONGEST_S = 120.0
_POLL_S = 0.05


@dataclass
class Row:
    """What became of one kind of fault."""

    trials: int = 0
    lived: int = 0
    reported_s: list[float] = field(default_factory=list)
    restored_s: list[float] = field(default_factory=list)
    calls: int = 0
    failed: int = 0
    wrong: int = 0
    left: int = 0


class Load:
    """Callers that transcribe one clip over and over through the SDK."""

    def __init__(self, client: Client, clip: bytes, text: str) -> None:
        self._client, self._clip, self._text = client, clip, text
        self._ended = threading.Event()
        self.calls = self.failed = self.wrong = 0
        self._threads = [threading.Thread(target=self._call_on) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _call_on(self) -> None:
        while not self._ended.is_set():
            self.calls += 1
            try:
                self.wrong += self._client.transcribe(self._clip).text != self._text
            except AsrError as error:
                print(f"failed: {error!r}", flush=True)
                self.failed += 1


def is_whole(server: LocalServer) -> bool:
    """Whether it is ready with all its processes."""
    status, body = server.health()
    return status == 200 and body["state"] == "ready"


def changes(server: LocalServer) -> int:
    """How often the server replaced something."""
    _, page = server.health_page("/metrics")
    return counted(page, "asr_heals_total", "asr_restarts_total")


def counted(page: str, *names: str) -> int:
    """The sum of some counters of a metrics page."""
    lines = (line for line in page.splitlines() if line.startswith(names))
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


def victim(server: LocalServer, kind: str) -> psutil.Process:
    """A process of this kind that takes new calls, chosen at random."""
    if kind != "tritonserver":
        return random.choice(server.serving_stubs(kind))
    children = psutil.Process(server.process.pid).children()
    return next(child for child in children if child.name() == "tritonserver")


def wait_until(is_so: Callable[[], bool], limit_s: float) -> float:
    """Seconds until `is_so()`; infinity where it does not come about."""
    began_s = time.monotonic()
    while not is_so():
        if time.monotonic() > began_s + limit_s:
            return float("inf")
        time.sleep(_POLL_S)
    return time.monotonic() - began_s


def hit(server: LocalServer, kind: str, fault: str, row: Row) -> None:
    """One fault, until all its processes are back."""
    time.sleep(random.uniform(0.5, 2.0))
    before, target = changes(server), victim(server, kind)
    target.send_signal(signal.SIGKILL if fault == "SIGKILL" else signal.SIGSTOP)
    row.trials += 1
    if fault.endswith("2 s"):
        time.sleep(2)
        if target.is_running():
            target.send_signal(signal.SIGCONT)
        # Nothing is promised but that all processes are there.
        time.sleep(1)
    else:
        began_s = time.monotonic()
        row.reported_s.append(wait_until(lambda: not is_whole(server), REPORTED_S + 5))
        wait_until(lambda: changes(server) > before, _LONGEST_S)
        wait_until(lambda: is_whole(server), _LONGEST_S)
        row.restored_s.append(time.monotonic() - began_s)
    wait_until(lambda: is_whole(server), _LONGEST_S)
    row.lived += server.process.poll() is None


@contextmanager
def callers(server: LocalServer, clip: bytes, row: Row, *, loaded: bool) -> Iterator[None]:
    """Eight callers around the block, or none; one call checks the server before and after."""
    with Client(server.url, timeout_s=120) as client:
        text = client.transcribe(clip).text
        if loaded:
            with Load(client, clip, text) as load:
                yield
            row.calls += load.calls
            row.failed += load.failed
            row.wrong += load.wrong
        else:
            yield
        row.wrong += client.transcribe(clip).text != text


def run(kind: str, fault: str, *, loaded: bool, times: int, clip: bytes) -> tuple[Row, float]:
    """All trials of one row; returns it and how long the models took to load, in seconds."""
    row, load_s = Row(), 0.0
    while row.trials < times:
        began_s = time.monotonic()
        with open(os.devnull, "wb") as log, local_server("--frontends=2", log=log) as server:
            load_s = max(load_s, time.monotonic() - began_s)
            with callers(server, clip, row, loaded=loaded):
                for _ in range(min(_FAULTS_A_SERVER, times - row.trials)):
                    hit(server, kind, fault, row)
            pid = server.process.pid
        row.left += len(list(Path("/dev/shm").glob(f"asr-server-{pid}-*")))
    return row, load_s


def hangs_under_load(seconds: float) -> tuple[int, int]:
    """Calls answered, and processes taken to hang, while the queue of a slow network is full."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_checkpoint(Path(folder), "base")
        flags = (f"--model={model}", "--precision=fp32", "--frontends=2")
        with open(os.devnull, "wb") as log, local_server(*flags, log=log) as server:
            noise = np.random.default_rng(0).normal(0, 3000, 20 * 16_000)
            clip = recordings.wav(noise.astype(np.int16))
            with Client(server.url, timeout_s=600) as client:
                text = client.transcribe(clip).text
                with Load(client, clip, text) as load:
                    time.sleep(seconds)
                    _, page = server.health_page("/metrics")
                assert load.failed == load.wrong == 0, "a call failed, or another's words"
            return load.calls, counted(page, "asr_hangs_total", "asr_restarts_total")


def main() -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--times", type=int, default=5, help="faults a row")
    parser.add_argument("--processes", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--full-queue-s", type=float, default=120.0, help="0 leaves it out")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    args = parser.parse_args()
    random.seed(args.seed)
    clip = recordings.wav(recordings.pcm("cards-004-five-five.wav"))
    print(f"{describe()}; seed {args.seed}\n")
    print(
        "| process | fault | load | lived on | reported within, s | restored within, s "
        "| calls | failed | wrong | left in shared memory |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    good = True
    for kind in args.processes:
        for fault in FAULTS:
            for loaded in (False, True):
                row, load_s = run(kind, fault, loaded=loaded, times=args.times, clip=clip)
                reported_s, restored_s = (
                    max(times, default=0.0) for times in (row.reported_s, row.restored_s)
                )
                good &= row.lived == row.trials and not row.wrong and not row.left
                good &= reported_s <= REPORTED_S and restored_s <= load_s + RESTORED_S
                print(
                    f"| `{kind}` | {fault} | {f'{CALLERS} callers' if loaded else 'idle'} "
                    f"| {row.lived} of {row.trials} | {reported_s:.1f} | {restored_s:.1f} "
                    f"| {row.calls} | {row.failed} | {row.wrong} | {row.left} |",
                    flush=True,
                )
    if args.full_queue_s:
        calls, hung = hangs_under_load(args.full_queue_s)
        good &= hung == 0
        print(
            f"\n{args.full_queue_s:.0f} s of {CALLERS} callers with windows of 20 s, base size in "
            f"fp32: {calls} calls answered, {hung} processes taken to hang"
        )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
