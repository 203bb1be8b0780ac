"""Calls on a clock of their own."""

from __future__ import annotations

from typing import Any

import asr_client
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.budget import RetryBudget
from asr_client._transport.call import Call
from asr_client._transport.servers import Servers


class Clock:
    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def made_call(clock: Clock, *, timeout_s: float = 10.0, draw: float = 0.5, **policy: Any) -> Call:
    return Call(
        address="host:1",
        timeout_s=timeout_s,
        policy=asr_client.RetryPolicy(**policy),
        clock=clock,
        rng=lambda: draw,
    )


def with_servers(
    *addresses: str, clock: Clock | None = None, **settings: Any
) -> tuple[Call, OpenAttempt]:
    """A call and its first attempt, at the first server."""
    clock = clock or Clock()
    servers = Servers(addresses, clock=clock, rng=lambda: 0)
    for address in addresses:
        servers.answered(address)
    budget = settings.pop("budget", RetryBudget())
    watch = settings.pop("watch", None)
    call = Call(
        address=",".join(addresses),
        timeout_s=settings.pop("timeout_s", 10.0),
        policy=asr_client.RetryPolicy(**settings),
        servers=servers,
        budget=budget,
        watch=watch,
        clock=clock,
        rng=lambda: 0.5,
    )
    return call, call.attempt(call.choose())


def fail(attempt: OpenAttempt, status: str, words: str) -> float:
    """Let an attempt fail: the seconds to wait before the next one, or the call's error."""
    with attempt:
        raise AttemptFailed(attempt, status, words)
    return attempt.pause_s
