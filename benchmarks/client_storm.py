"""Calls to two fake servers behind networks that fail, all of it at random by a seed.

Servers and networks run in another process, so that they take no time from the callers.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random

from asr_client import Attempt
from asr_client.testing import FakeServer, Fault, FlakyNetwork
from benchmarks.client_calls import Ended, make_calls
from tools.processes import child

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


@dataclass
class Report:
    """The results of all calls."""

    calls: list[Ended] = field(default_factory=list)
    attempts: dict[str, list[str]] = field(default_factory=dict)
    """For each request id the statuses that its attempts ended with."""
    received: Counter[str] = field(default_factory=Counter)
    """How often each request id reached a server."""

    @property
    def kinds(self) -> Counter[str]:
        """Number of calls by the way they ended."""
        return Counter(call.kind for call in self.calls)

    @property
    def latest_s(self) -> float:
        """The maximum lateness of a call."""
        return max(call.late_s for call in self.calls)

    @property
    def untyped(self) -> list[str]:
        """Errors that are not the SDK's."""
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

    def note(self, attempt: Attempt) -> None:
        """Note an attempt; the hook of a client."""
        self.attempts.setdefault(attempt.request_id, []).append(attempt.status)


def run(calls: int, *, concurrency: int, seed: int, asynchronous: bool) -> Report:
    """Make so many calls with one client, so many of them at once."""
    report, rng = Report(), Random(seed)
    timeouts_s = [rng.uniform(*TIMEOUTS_S) for _ in range(calls)]
    with child(_failing_servers, seed) as pipe:
        report.calls = make_calls(
            pipe.recv(),
            timeouts_s,
            concurrency=concurrency,
            asynchronous=asynchronous,
            on_attempt=report.note,
        )
        pipe.send("end")
        report.received = pipe.recv()
    return report


def _failing_servers(pipe: Connection, seed: int) -> None:
    """Fail until a message comes; then send how often each request was received."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(FakeServer()) for _ in range(2)]
        for number, server in enumerate(servers):
            server.disturb(CHANCES, slow=SLOW, slow_s=SLOW_S, seed=seed + number)
        networks = [stack.enter_context(FlakyNetwork(server.url)) for server in servers]
        pipe.send([network.url for network in networks])
        rng = Random(seed)
        while not pipe.poll(rng.uniform(*QUIET_S)):
            network = rng.choice(networks)
            # A reset also ends the connections that are silent.
            rng.choice([network.reset, network.silence])()
        requests = [request.request_id for server in servers for request in server.requests]
    pipe.send(Counter(requests))
