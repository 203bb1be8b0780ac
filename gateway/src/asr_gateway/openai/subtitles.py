"""Words in groups: subtitles, and the segments of verbose_json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr_client import Char, Word, as_srt, as_vtt

MAX_LINE_CHARS = 42
PAUSE_S = 0.7
"""A silence of this length ends a group."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How large a group of words may become."""

    max_s: float
    max_chars: int


CUE = Shape(max_s=6.0, max_chars=2 * MAX_LINE_CHARS)
SEGMENT = Shape(max_s=30.0, max_chars=500)


def groups(words: Sequence[Word], shape: Shape) -> Iterator[tuple[Word, ...]]:
    """Split words at pauses, and before a group grows over its shape."""
    group: list[Word] = []
    chars = 0
    for word in words:
        if group and (
            word.start_s - group[-1].end_s >= PAUSE_S
            or word.end_s - group[0].start_s > shape.max_s
            or chars + 1 + len(word.text) > shape.max_chars
        ):
            yield tuple(group)
            group, chars = [], -1
        group.append(word)
        chars += 1 + len(word.text)
    if group:
        yield tuple(group)


def srt(words: Sequence[Word], chars: Sequence[Char] = ()) -> str:
    """SubRip."""
    return as_srt(words, chars)


def vtt(words: Sequence[Word], chars: Sequence[Char] = ()) -> str:
    """WebVTT."""
    return as_vtt(words, chars)
