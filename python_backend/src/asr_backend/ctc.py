"""CTC emissions to text, words and characters with times and confidences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Span:
    """A word or a character of the transcript."""

    text: str
    start_s: float
    """Seconds from the start of the submitted audio."""
    end_s: float
    """Seconds; at most the duration of the audio."""
    confidence: float
    """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Transcription:
    """What was said in one clip."""

    text: str
    confidence: float
    """In [0, 1]."""
    words: tuple[Span, ...]
    chars: tuple[Span, ...]
    """The visible characters in order, without the spaces between words."""
