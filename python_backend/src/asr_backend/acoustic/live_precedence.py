"""When windows of long recordings yield to live audio, and which of them has its turn.

`wav2vec2` gets its next windows only when it has computed the batch. So while there is live audio,
a batch has at most one forward of windows that yield, behind all others, and none if it has live
windows: more of them may have arrived by its end. What yields comes again with the next batch. A
live window thus waits for one such forward at most. A window that was put off MAX_DEFERRALS times
has its turn all the same, so long recordings advance however many live windows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

LIVE_S = 2.0
"""There is live audio for so many seconds after its last window. A stream looks every 0.4 s, and
every 1.5 s if its segment is long."""


MAX_DEFERRALS = 4
"""Batches with live windows to which a window yields."""


class LivePrecedence:
    """Remembers when live audio was there last.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s = float("-inf")

    def is_there(self, in_batch: bool) -> bool:
        """Whether there is live audio now.

        Args:
            in_batch: whether the present batch has some.
        """
        now_s = self._clock()
        if in_batch:
            self._until_s = now_s + LIVE_S
        return now_s < self._until_s

    @staticmethod
    def turn(deferrals: Sequence[Sequence[int]], in_batch: bool) -> int | None:
        """The forward that has its turn: the one with the window that was put off most often.

        Args:
            deferrals: how often each window of each forward was put off.
            in_batch: whether the present batch has live audio.

        Returns:
            Its index; None if all yield.
        """
        most = [max(forward) for forward in deferrals]
        if not most or (in_batch and max(most) < MAX_DEFERRALS):
            return None
        return most.index(max(most))
