"""Counts of live streams: how late their words were shown, and how many were taken back."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class LiveTally:
    """Counts that grow with every stream; those of several generators add up."""

    streams: int = 0
    """Streams that ended, failed ones included."""

    interim_s: array[float] = field(default_factory=lambda: array("d"))
    """From when the look of an interim was due until it was shown."""

    final_s: array[float] = field(default_factory=lambda: array("d"))
    """From the end of the last word of a segment that a pause ended until it was shown as final."""

    shown: int = 0
    """Words of interims."""

    revised: int = 0
    """Words of interims that the next interim, or the final, did not keep."""

    skipped: int = 0
    """Segments that were dropped, because their looks ended processes of the server."""

    def add(self, other: LiveTally) -> None:
        """Add the counts of another tally."""
        self.streams += other.streams
        self.interim_s.extend(other.interim_s)
        self.final_s.extend(other.final_s)
        self.shown += other.shown
        self.revised += other.revised
        self.skipped += other.skipped

    def to_message(self) -> dict[str, Any]:
        """Plain values for another process."""
        return {
            "streams": self.streams,
            "interim_s": self.interim_s.tobytes(),
            "final_s": self.final_s.tobytes(),
            "shown": self.shown,
            "revised": self.revised,
            "skipped": self.skipped,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> LiveTally:
        """What `to_message` gave, of a process on a machine of the same byte order."""
        counts = ("streams", "shown", "revised", "skipped")
        tally = cls(**{name: message[name] for name in counts})
        tally.interim_s.frombytes(message["interim_s"])
        tally.final_s.frombytes(message["final_s"])
        return tally


def flicker(tally: LiveTally) -> float:
    """The share of the words shown in interims that the next display did not keep; 0 without any.

    Neighbouring displays are aligned word by word.
    """
    return tally.revised / tally.shown if tally.shown else 0.0
