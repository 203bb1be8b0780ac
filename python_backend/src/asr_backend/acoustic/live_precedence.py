"""When windows of long recordings yield to live audio, and which of them has its turn.

`wav2vec2` gets its next windows only when it has computed the batch. While there is live audio, a
batch therefore has one forward of windows that yield, behind all others; the rest of them come
again with the next batch. So a live window that arrives meanwhile waits for one such forward, and
however many live windows there are, every batch brings long recordings one forward further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

LIVE_S = 2.0
"""There is live audio for so many seconds after its last window. A stream looks every 0.4 s, and
every 1.5 s if its segment is long."""


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
    def turn(deferrals: Sequence[Sequence[int]]) -> int:
        """The forward that has its turn: the one with the window that was put off most often.

        Args:
            deferrals: how often each window of each forward was put off; at least one forward.
        """
        return max(range(len(deferrals)), key=lambda index: max(deferrals[index]))
