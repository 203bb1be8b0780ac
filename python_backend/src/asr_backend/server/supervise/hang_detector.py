"""Whether a process makes progress, counting only time in which the supervisor itself ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from asr_backend.triton_io.progress import HANG_S, Signs

_LONGEST_LOOK_S = 1.0
"""Longer gaps between two looks mean that the supervisor stood still, perhaps the whole machine."""

T = TypeVar("T")


class Unchanged(Generic[T]):
    """How long a value has not changed, in seconds in which the supervisor ran."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._looked_s = 0.0
        self._for_s = 0.0

    def look(self, value: T, now_s: float) -> float:
        """Seconds for which it has had this value."""
        if value != self._value:
            self._value, self._for_s = value, 0.0
        else:
            self._for_s += min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        return self._for_s


class HangDetector:
    """Watches one model instance.

    Args:
        read: returns the instance's signs of life; None if it writes none, as a foreign model does.
            Such an instance never counts as hung.
    """

    def __init__(self, read: Callable[[], Signs | None]) -> None:
        self._read = read
        self._beats: Unchanged[int] = Unchanged()
        self._steps: Unchanged[int] = Unchanged()

    def hangs(self, now_s: float) -> str:
        """Why it counts as hung, in words; "" if it does not."""
        signs = self._read()
        if signs is None:
            return ""
        silent_s = self._beats.look(signs.beats, now_s)
        stuck_s = self._steps.look(signs.steps, now_s)
        if silent_s >= HANG_S:
            return f"no sign of life for {silent_s:.1f} s"
        if signs.busy and stuck_s >= signs.patience_s:
            return (
                f"one step has taken {stuck_s:.1f} s, the limit from earlier steps is "
                f"{signs.patience_s:.1f} s"
            )
        return ""
