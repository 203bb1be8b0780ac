"""What a live stream gives: frozen values. All seconds count from the stream's start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from asr_client._errors import AsrError
from asr_client._types import Char, ModelInfo, Word


@dataclass(frozen=True, kw_only=True, slots=True)
class InterimWord:
    """One word of an interim."""

    text: str
    start_s: float
    """Seconds from the start of the stream."""
    end_s: float
    """Seconds from the start of the stream."""
    confidence: float
    """Between 0 and 1."""
    stable: bool
    """Whether it is in the interim's `stable_text`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interim:
    """The words so far of the open segment; replaces the interim before.

    It is empty if the words before were a noise that turned out to be no speech.
    """

    index: int
    """Of the segment to come."""
    start_s: float
    end_s: float
    text: str
    stable_text: str
    """The beginning of `text` that the last two looks agree on. It may still change."""
    words: tuple[InterimWord, ...]
    """Empty with `timestamps="none"`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A final segment: what `transcribe` answers for its frames."""

    index: int
    """Counts the stream's segments with words, from 0."""
    first_frame: int
    """Its first frame, from the start of the stream."""
    frames: int
    """How many frames it has; a frame has one sample of each channel."""
    start_s: float
    end_s: float
    text: str
    confidence: float
    """Between 0 and 1."""
    words: tuple[Word, ...]
    """Empty with `timestamps="none"`."""
    chars: tuple[Char, ...]
    """Empty unless `timestamps="char"`."""
    reason: Literal["pause", "length", "end"]
    """What ended it."""
    model: ModelInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Audio that was given up, because the looks at it ended processes of the servers."""

    first_frame: int
    """Its first frame, from the start of the stream."""
    frames: int
    start_s: float
    end_s: float
    error: AsrError
    """Of the last look."""


StreamEvent: TypeAlias = "Interim | Segment | Skipped"
"""What a live stream gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveTranscript:
    """All that is final of a live stream."""

    segments: tuple[Segment, ...]
    skipped: tuple[Skipped, ...]

    @property
    def text(self) -> str:
        """The segments' texts, joined by spaces."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments; empty with `timestamps="none"`."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def chars(self) -> tuple[Char, ...]:
        """The characters of all segments; empty unless `timestamps="char"`."""
        return tuple(char for segment in self.segments for char in segment.chars)
