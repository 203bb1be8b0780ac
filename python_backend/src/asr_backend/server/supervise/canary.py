"""Requests tritonserver's metrics page, to see whether it still answers."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable

INTERVAL_S = 1.0
_TIMEOUT_S = 2.0


class Canary:
    """Requests the page once a second from a thread, from construction until `close`.

    The metrics page is the only call of Triton that needs neither certificate nor token.

    Args:
        host: of the metrics page.
        port: of the metrics page.
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
        """Answers so far."""
        return self._answers

    def close(self) -> None:
        """Stops asking; returns at once."""
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
