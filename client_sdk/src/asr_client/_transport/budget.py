"""The retry budget that all calls of a client share. No clock, no random numbers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

MIN_TOKENS = 10.0
"""Enough for a client with one call at a time to use its whole retry policy a few times."""
TOKENS_PER_CALL_IN_FLIGHT = 2.0
TOKENS_PER_SUCCESS = 0.1


class RetryBudget:
    """A token bucket: each retry takes one token, ten successful calls give one back.

    It starts full. Its size is twice the maximum number of calls in flight so far, and at least
    10. So servers that refuse everything get a burst of that size, and then at most a tenth more
    requests than there are successes. Threads may share it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._size = self._tokens = MIN_TOKENS
        self._in_flight = 0

    @property
    def tokens(self) -> float:
        """The retries that are left."""
        return self._tokens

    @contextlib.contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a call as in flight while it runs."""
        with self._lock:
            self._in_flight += 1
            grown = max(self._size, TOKENS_PER_CALL_IN_FLIGHT * self._in_flight)
            self._tokens += grown - self._size
            self._size = grown
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def refill(self) -> None:
        """Note that a request succeeded."""
        with self._lock:
            self._tokens = min(self._size, self._tokens + TOKENS_PER_SUCCESS)

    def take(self) -> bool:
        """Take the token of one retry; False when none is left."""
        with self._lock:
            # 10 * 0.1 < 1 in binary floating point.
            if self._tokens < 1 - 1e-9:
                return False
            self._tokens = max(0.0, self._tokens - 1)
            return True
