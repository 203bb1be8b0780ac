"""What live streams send: utterances with pauses between them, and the looks at them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from load_tests.run.corpus import KINDS
from load_tests.run.listener import HOP_S, HOP_SHARE

ENDPOINT_S = 0.5
"""A pause that ends a segment; the contract's default."""
KEPT_S = 0.2
"""Silence that a segment keeps on each side."""


class Speaker:
    """One stream of utterances, from a place within the first of them.

    Args:
        rng: picks utterances and pauses.
        utterances_s: their lengths, seconds.
    """

    def __init__(self, rng: random.Random, utterances_s: Sequence[float]) -> None:
        self._rng = rng
        self._utterances_s = utterances_s
        self._start_s = self._end_s = -rng.random()
        self._speak()

    def look(self, heard_s: float) -> tuple[list[float], float | None]:
        """A look at the stream up to a time.

        Args:
            heard_s: seconds since the stream began; never less than at the look before.

        Returns:
            The windows that the network computes for it, seconds: the segments that became final,
            and the open one. And the open one's length; None in silence.
        """
        windows = []
        while heard_s >= self._end_s + ENDPOINT_S:
            windows.append(self._end_s - self._start_s + 2 * KEPT_S)
            self._speak()
        if heard_s <= self._start_s:
            return windows, None
        open_s = heard_s - self._start_s + KEPT_S
        return [*windows, open_s], open_s

    def _speak(self) -> None:
        self._start_s = self._end_s + self._rng.uniform(*KINDS["talks"].pause_s)
        self._end_s = self._start_s + self._rng.choice(self._utterances_s)


def hop_s(open_s: float | None) -> float:
    """New audio until the next look, seconds."""
    return max(HOP_S, HOP_SHARE * (open_s or 0.0))
