"""Warnings: what a caller should know about audio that was transcribed all the same."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class WarningCode(str, Enum):
    """Codes of the wire contract."""

    CHANNELS_CANCEL = "CHANNELS_CANCEL"
    CLIPPED = "CLIPPED"
    VERY_QUIET = "VERY_QUIET"
    AUDIO_ENDS_EARLY = "AUDIO_ENDS_EARLY"
    AUDIO_GAP = "AUDIO_GAP"
    AUDIO_DAMAGED = "AUDIO_DAMAGED"


@dataclass(frozen=True, kw_only=True)
class AudioWarning:
    """One entry of RESULT's `warnings`."""

    code: WarningCode
    message: str
    """A sentence with the numbers in it."""


class WarningList:
    """Collects the warnings of one recording in bounded memory.

    A code appears once, with the first message; the message says how often more of them follow.
    """

    def __init__(self) -> None:
        self._first: dict[WarningCode, str] = {}
        self._counts: dict[WarningCode, int] = {}

    def add(self, code: WarningCode, message: str) -> None:
        """Add a warning: a sentence without a full stop, with the numbers in it."""
        self._first.setdefault(code, message)
        self._counts[code] = self._counts.get(code, 0) + 1

    def all(self) -> tuple[AudioWarning, ...]:
        """All warnings so far, in the order of the codes' first appearance."""
        return tuple(
            AudioWarning(code=code, message=message + self._more(code))
            for code, message in self._first.items()
        )

    def _more(self, code: WarningCode) -> str:
        more = self._counts[code] - 1
        return f" (and {more} more)" if more else ""
