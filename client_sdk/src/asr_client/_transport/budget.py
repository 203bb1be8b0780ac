"""How many retries all calls of a client together may spend. No clock, no dice."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

MIN_TOKENS = 10.0
"""A client that makes one call at a time may still use its whole policy a few times."""
TOKENS_PER_CALL_IN_FLIGHT = 2.0
TOKENS_PER_SUCCESS = 0.1


class RetryBudget:
    """A token bucket: each retry takes one token, ten successful calls give one back.

    It starts full. Its size is twice the number of calls that were in flight at once, at least
    10, and grows with them. Servers that refuse everything therefore get a burst of that size, and
    from then on at most a tenth more requests than there are successes. Safe to share by threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._size = self._tokens = MIN_TOKENS
        self._in_flight = 0

    @property
    def tokens(self) -> float:
        """Retries that are left."""
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
        """Pay for one retry; False when there is nothing left to pay with."""
        with self._lock:
            # Ten tenths are a little less than one.
            if self._tokens < 1 - 1e-9:
                return False
            self._tokens = max(0.0, self._tokens - 1)
            return True
