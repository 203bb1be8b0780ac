"""Asks tritonserver for its metrics page, to see whether it still answers."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable

INTERVAL_S = 1.0
_TIMEOUT_S = 2.0


class Canary:
    """Asks once a second from a thread of its own, from construction until `close`.

    The metrics page is the one call of Triton that needs no certificate and no token.

    Args:
        host: where the page is.
        port: where the page is.
        clock: the monotonic clock.
    """

    def __init__(self, host: str, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._port, self._clock = host, port, clock
        self._answers = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="canary", daemon=True)
        self._thread.start()

    @property
    def answers(self) -> int:
        """How often it was answered."""
        return self._answers

    def close(self) -> None:
        """Ask no more; returns at once."""
        self._ended.set()

    def _ask_on(self) -> None:
        while not self._ended.is_set():
            began_s = self._clock()
            if self._is_answered():
                self._answers += 1
            self._ended.wait(max(0.0, INTERVAL_S - (self._clock() - began_s)))

    def _is_answered(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True
