"""The time of a sweep: how long a point may take, so that the sweep ends within a limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

START_S = 15.0
"""Set aside for the start of a server that is still to come; the points pay for a longer one."""

STOP_S = 20.0
"""Longest wait for a server's stop; one that takes longer is killed."""


class Budget:
    """Counts from when it is made.

    Args:
        limit_s: seconds in which the last server has stopped; infinite for no limit.
        clock: a monotonic one, seconds.
    """

    def __init__(
        self, limit_s: float = math.inf, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._began = clock()

    @property
    def left_s(self) -> float:
        """Seconds until the running server must begin to stop; negative when that is past."""
        return self._began + self.limit_s - STOP_S - self._clock()

    def share_s(self, *, points: int, starts: int) -> float:
        """Seconds for the next one of so many points, when so many servers are to be started."""
        return (self.left_s - starts * (START_S + STOP_S)) / points

    def limit_for(self, *, points: int, starts: int, share_s: float) -> float:
        """The limit with which each point would have that share, seconds."""
        return self.limit_s + points * (share_s - self.share_s(points=points, starts=starts))
