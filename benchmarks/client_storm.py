"""Calls through two fake servers behind networks that fail, all of it at random by a seed.

Servers and networks run in a process of their own, so that they do not take time from the callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random

import numpy as np

from asr_client import AsrError, AsyncClient, Attempt, Client
from asr_client.testing import FakeServer, Fault, FlakyNetwork

CHANCES = {
    Fault.QUEUE_FULL: 0.05,
    Fault.CONNECTION_LOST: 0.05,
    Fault.ENGINE_RESTARTING: 0.02,
    Fault.CORRUPT_AUDIO: 0.05,
    Fault.INTERNAL_ERROR: 0.01,
    Fault.NO_OUTPUTS: 0.01,
}
SLOW, SLOW_S = 0.03, 1.0
"""The chance of a slow reply, and how much longer it takes."""
QUIET_S = (0.02, 0.2)
"""Seconds from one failure of a network to the next."""
TIMEOUTS_S = (0.1, 2.0)
"""Of the calls."""
CLIP = np.zeros(1600, np.int16)


@dataclass(frozen=True)
class Ended:
    """How one call ended."""

    timeout_s: float
    elapsed_s: float
    kind: str
    """The error's class, or "transcript"."""
    typed: bool
    """It was a transcript or an AsrError."""

    @property
    def late_s(self) -> float:
        """Seconds beyond the deadline; negative when it ended before."""
        return self.elapsed_s - self.timeout_s


@dataclass
class Report:
    """What became of all calls."""

    calls: list[Ended] = field(default_factory=list)
    attempts: dict[str, list[str]] = field(default_factory=dict)
    """Of each request id, the statuses that its attempts ended with."""
    received: Counter[str] = field(default_factory=Counter)
    """How often each request id reached a server."""

    @property
    def kinds(self) -> Counter[str]:
        """How many calls ended how."""
        return Counter(call.kind for call in self.calls)

    @property
    def latest_s(self) -> float:
        """The most that a call was late."""
        return max(call.late_s for call in self.calls)

    @property
    def untyped(self) -> list[str]:
        """Errors that are none of the SDK's."""
        return [call.kind for call in self.calls if not call.typed]

    @property
    def sent_after_refusal(self) -> list[str]:
        """Request ids that were sent again after INVALID_ARGUMENT, by the client or under it."""
        return [
            request_id
            for request_id, statuses in self.attempts.items()
            if "INVALID_ARGUMENT" in statuses
            and (
                statuses.index("INVALID_ARGUMENT") != len(statuses) - 1
                or self.received[request_id] > len(statuses)
            )
        ]

    @property
    def repeated(self) -> int:
        """Calls that were sent more than once."""
        return sum(len(statuses) > 1 for statuses in self.attempts.values())

    def told(self, attempt: Attempt) -> None:
        """Note an attempt; the hook of a client."""
        self.attempts.setdefault(attempt.request_id, []).append(attempt.status)

    def ended(self, timeout_s: float, began_s: float, error: Exception | None) -> None:
        """Note a call."""
        kind = "transcript" if error is None else type(error).__name__
        typed = error is None or isinstance(error, AsrError)
        self.calls.append(Ended(timeout_s, time.monotonic() - began_s, kind, typed))


def run(calls: int, *, concurrency: int, seed: int, asynchronous: bool) -> Report:
    """Make so many calls with one client, so many of them at once."""
    report = Report()
    dice = Random(seed)
    timeouts_s = [dice.uniform(*TIMEOUTS_S) for _ in range(calls)]
    with _weather(seed, report) as urls:
        if asynchronous:
            asyncio.run(_in_tasks(urls, timeouts_s, concurrency, report))
        else:
            _in_threads(urls, timeouts_s, concurrency, report)
    return report


def _in_threads(urls: list[str], timeouts_s: list[float], concurrency: int, report: Report) -> None:
    def call(timeout_s: float) -> None:
        began_s, failure = time.monotonic(), None
        try:
            client.transcribe(CLIP, sample_rate=16_000, timeout_s=timeout_s)
        except Exception as error:
            failure = error
        report.ended(timeout_s, began_s, failure)

    with (
        Client(urls, on_attempt=report.told) as client,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        list(pool.map(call, timeouts_s))


async def _in_tasks(
    urls: list[str], timeouts_s: list[float], concurrency: int, report: Report
) -> None:
    left = iter(timeouts_s)

    async def caller() -> None:
        for timeout_s in left:
            began_s, failure = time.monotonic(), None
            try:
                await client.transcribe(CLIP, sample_rate=16_000, timeout_s=timeout_s)
            except Exception as error:
                failure = error
            report.ended(timeout_s, began_s, failure)

    async with AsyncClient(urls, on_attempt=report.told) as client:
        await asyncio.gather(*(caller() for _ in range(concurrency)))


@contextlib.contextmanager
def _weather(seed: int, report: Report) -> Iterator[list[str]]:
    """The addresses of two servers that fail until the block ends."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_servers, args=(theirs, seed), daemon=True)
    process.start()
    try:
        yield ours.recv()
        ours.send("end")
        report.received = ours.recv()
        process.join(30)
    finally:
        process.kill()


def _servers(pipe: Connection, seed: int) -> None:
    """Fail until a word comes; then say how often each request came."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(FakeServer()) for _ in range(2)]
        for number, server in enumerate(servers):
            server.disturb(CHANCES, slow=SLOW, slow_s=SLOW_S, seed=seed + number)
        networks = [stack.enter_context(FlakyNetwork(server.url)) for server in servers]
        pipe.send([network.url for network in networks])
        dice = Random(seed)
        while not pipe.poll(dice.uniform(*QUIET_S)):
            network = dice.choice(networks)
            # A reset also ends the silence of connections that nobody answers any more.
            dice.choice([network.reset, network.silence])()
        requests = [request.request_id for server in servers for request in server.requests]
    pipe.send(Counter(requests))
