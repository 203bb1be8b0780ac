"""Two fake servers behind one client; one says that it is ready and answers no recording."""

from __future__ import annotations

from dataclasses import dataclass

from asr_client.testing import FakeServer
from benchmarks.client_calls import make_calls

CALLERS, CALLS = 4, 200
ANSWER_S = 0.05
"""Time of an answer of the other server."""


@dataclass(frozen=True)
class Report:
    """The results of the calls."""

    failed: list[int]
    """Places of the failed calls in the order in which all began."""
    durations_s: list[float]
    sent_to_the_hung_one: int
    """Recordings, trials included."""


def run(calls: int = CALLS, *, timeout_s: float, asynchronous: bool) -> Report:
    """Make so many calls with one client, four at once, each bounded by `timeout_s`."""
    with FakeServer(delay_s=ANSWER_S) as healthy, FakeServer() as hung:
        hung.hung = True
        ended = make_calls(
            [healthy.url, hung.url],
            [timeout_s] * calls,
            concurrency=CALLERS,
            asynchronous=asynchronous,
        )
        return Report(
            failed=[turn for turn, call in enumerate(ended) if call.kind != "transcript"],
            durations_s=[call.elapsed_s for call in ended],
            sent_to_the_hung_one=len(hung.requests),
        )
