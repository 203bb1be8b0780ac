"""How many recordings are in flight at once: up slowly, down by half when the server is busy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from asr_client._transport.retry import RetryPolicy, backoff_s


class Pace:
    """Additive increase, multiplicative decrease, as TCP's congestion avoidance (RFC 5681).

    Does no I/O and never waits; it says how long to.

    Args:
        concurrency: the number in flight at the start, never exceeded.
        policy: how the waits after refusals grow.
        patience_s: how long, in seconds, the server may refuse everything before refused
            recordings are given up.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        policy: RetryPolicy,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._max_in_flight = concurrency
        self._limit = float(concurrency)
        self._policy = policy
        self._patience_s = patience_s
        self._clock = clock
        self._rng = rng
        self._round = 0
        self._refusals = 0
        self._refusing_since: float | None = None
        self._next_at = clock()

    @property
    def limit(self) -> int:
        """How many may be in flight now, at least 1."""
        return int(self._limit)

    def pause_s(self) -> float:
        """Seconds until the next one may be sent; 0 when it may be sent now."""
        return max(0.0, self._next_at - self._clock())

    def sent(self) -> int:
        """The round that a recording sent now belongs to."""
        return self._round

    def accepted(self) -> None:
        """Note that the server took and answered one."""
        self._limit = min(self._max_in_flight, self._limit + 1 / self._limit)
        self._refusals = 0
        self._refusing_since = None

    def refused(self, sent: int) -> bool:
        """Note that the server was too busy for one of the round `sent`.

        Returns:
            Whether it should be sent again.
        """
        now = self._clock()
        if self._refusing_since is None:
            self._refusing_since = now
        if sent == self._round:
            # Refusals of what was sent before the last reduction say nothing about it.
            self._round += 1
            self._refusals += 1
            self._limit = max(1.0, self._limit / 2)
            self._next_at = now + backoff_s(
                attempts=self._refusals, policy=self._policy, jitter=self._rng()
            )
        return now - self._refusing_since < self._patience_s
