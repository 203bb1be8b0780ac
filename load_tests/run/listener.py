"""What a person sees of a live stream, and how late. Nothing here waits."""

from __future__ import annotations

import math

from asr_client import Interim, Segment, StreamEvent
from load_tests.report.live_tally import LiveTally
from tools.word_errors import right_words

CHUNK_S = 0.1
"""Length of the blocks that the microphone gives."""

HOP_S = 0.4
HOP_SHARE = 0.1
"""The client's rule: a look is due after this much new audio, or this share of the open segment."""


class Listener:
    """Takes the events of one stream."""

    def __init__(self) -> None:
        self.tally = LiveTally(streams=1)
        self._shown: Interim | None = None

    def take(self, event: StreamEvent, at_s: float) -> None:
        """Take an event.

        Args:
            event: of the stream.
            at_s: when it came, seconds since the stream's audio began.
        """
        if isinstance(event, Interim):
            self.tally.interim_s.append(at_s - self._due_s(event))
            self._replace(event.text)
            self._shown = event
        elif isinstance(event, Segment):
            if event.reason == "pause" and event.words:
                self.tally.final_s.append(at_s - event.words[-1].end_s)
            self._replace(event.text)
            self._shown = None
        else:
            self.tally.skipped += 1
            self._replace("")
            self._shown = None

    def _due_s(self, interim: Interim) -> float:
        """When the look of an interim was due: a look that is sent late has newer audio."""
        before = self._shown
        if before is None or before.index != interim.index:
            # Looks in silence show nothing, so when this one was due cannot be known.
            return interim.end_s
        hop_s = max(HOP_S, HOP_SHARE * (before.end_s - before.start_s))
        # A look is made when a block has come. Seconds have three decimals.
        due_s = CHUNK_S * math.ceil((before.end_s + hop_s) / CHUNK_S - 0.05)
        return min(due_s, interim.end_s)

    def _replace(self, text: str) -> None:
        if self._shown is not None:
            right = right_words(text, self._shown.text)
            self.tally.shown += len(right)
            self.tally.revised += right.count(False)
