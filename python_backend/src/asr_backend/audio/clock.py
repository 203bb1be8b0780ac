"""Places decoded frames on the clock of their container."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DRIFT_S = 0.1
"""A difference up to this between a frame's timestamp and the end of the audio before it is left
alone: containers round timestamps, and live recorders jitter. libswresample's `async` has the same
threshold. No word is shorter."""
MAX_START_DRIFT_S = 0.001
"""The same for the first frame: where the audio starts is known to a millisecond."""
_ROUNDING_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Time of a recording without packets."""

    seconds: float


class Clock:
    """Turns timestamps into gaps and overlaps, as libswresample's `async=1:first_pts=0` does.

    Attributes:
        position_s: the end of the audio so far, in seconds from the container's start.
    """

    def __init__(self) -> None:
        self.position_s = 0.0
        self._overlap_s = 0.0
        self._is_first = True

    def place(self, at_s: float | None) -> float:
        """Take the timestamp of the next frame; None continues after the frame before.

        Returns:
            Seconds that the timestamp is after the end of the audio so far: positive for a gap,
            which `position_s` now includes; negative for an overlap, which `overlap` takes off the
            next frames; 0 within the drift.
        """
        limit_s = MAX_START_DRIFT_S if self._is_first else MAX_DRIFT_S
        self._is_first = False
        if at_s is None:
            return 0.0
        difference_s = at_s - self.position_s + self._overlap_s
        # Five packets of 20 ms are exactly the limit.
        if abs(difference_s) <= limit_s + _ROUNDING_S:
            return 0.0
        gap_s = max(0.0, difference_s - self._overlap_s)
        self._overlap_s = max(0.0, self._overlap_s - difference_s)
        self.position_s += gap_s
        return gap_s if gap_s else min(difference_s, 0.0)

    def overlap(self, seconds: float) -> float:
        """Advance by a frame of this many seconds.

        Returns:
            Seconds at the start of the frame that lie before the end of the audio so far. They are
            to be dropped.
        """
        dropped_s = min(self._overlap_s, seconds)
        self._overlap_s -= dropped_s
        self.position_s += seconds - dropped_s
        return dropped_s
