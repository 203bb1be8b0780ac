"""Whether a process makes progress, as far as we who ask were awake ourselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from asr_backend.triton_io.progress import HANG_S, Signs

_LONGEST_LOOK_S = 1.0
"""More than this between two looks says that we stood still, and perhaps the whole machine did."""

T = TypeVar("T")


class Unchanged(Generic[T]):
    """How long a value has not changed, in seconds of our own looking."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._looked_s = 0.0
        self._for_s = 0.0

    def look(self, value: T, now_s: float) -> float:
        """Seconds for which it has been this value."""
        if value != self._value:
            self._value, self._for_s = value, 0.0
        else:
            self._for_s += min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._looked_s = now_s
        return self._for_s


class Pulse:
    """Of one model instance.

    Args:
        read: what the instance says of itself; None where it says nothing at all, as a model does
            that is not ours. Then it is never taken to hang.
    """

    def __init__(self, read: Callable[[], Signs | None]) -> None:
        self._read = read
        self._beats: Unchanged[int] = Unchanged()
        self._steps: Unchanged[int] = Unchanged()

    def hangs(self, now_s: float) -> str:
        """In words why it is taken to hang, "" where it is not."""
        signs = self._read()
        if signs is None:
            return ""
        silent_s = self._beats.look(signs.beats, now_s)
        stuck_s = self._steps.look(signs.steps, now_s)
        if silent_s >= HANG_S:
            return f"no sign of life for {silent_s:.1f} s"
        if signs.busy and stuck_s >= signs.patience_s:
            return (
                f"{stuck_s:.1f} s over one piece of work, the limit is {signs.patience_s:.1f} s by "
                "the slowest before"
            )
        return ""
