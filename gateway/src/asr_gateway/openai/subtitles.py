"""Words in groups: subtitles, and the segments of verbose_json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from asr_client import Word

MAX_LINE_CHARS = 42
PAUSE_S = 0.7
"""A silence of this length ends a group."""
MIN_CUE_S = 1.0
"""A cue is shown for so long, unless the next one begins earlier."""


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


def srt(words: Sequence[Word]) -> str:
    """SubRip."""
    return "".join(
        f"{number}\n{_clock(start_s, ',')} --> {_clock(end_s, ',')}\n{text}\n\n"
        for number, (start_s, end_s, text) in enumerate(_cues(words), 1)
    )


def vtt(words: Sequence[Word]) -> str:
    """WebVTT."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start_s, '.')} --> {_clock(end_s, '.')}\n{escape(text, quote=False)}\n\n"
        for start_s, end_s, text in _cues(words)
    )


def _cues(words: Sequence[Word]) -> Iterator[tuple[float, float, str]]:
    cues = list(groups(words, CUE))
    for number, cue in enumerate(cues):
        end_s = max(cue[-1].end_s, cue[0].start_s + MIN_CUE_S)
        if number + 1 < len(cues):
            end_s = max(cue[-1].end_s, min(end_s, cues[number + 1][0].start_s))
        yield cue[0].start_s, end_s, _two_lines([word.text for word in cue])


def _two_lines(words: Sequence[str]) -> str:
    text = " ".join(words)
    if len(text) <= MAX_LINE_CHARS or len(words) == 1:
        return text
    splits = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return "\n".join(min(splits, key=lambda lines: max(map(len, lines))))


def _clock(time_s: float, point: str) -> str:
    minutes, ms = divmod(round(time_s * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"
