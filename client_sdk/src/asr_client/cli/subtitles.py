"""Transcripts as text, subtitles and tables. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from asr_client._types import Transcript, Word

MAX_LINE_CHARS = 42
MAX_CUE_CHARS = 2 * MAX_LINE_CHARS
MAX_CUE_S = 6.0
MIN_CUE_S = 1.0
PAUSE_S = 0.7
"""A pause of this length ends a cue: a new sentence or another speaker probably follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """Words that are shown together."""

    text: str
    """One line, or two lines of similar length."""
    start_s: float
    end_s: float


def cues(words: Sequence[Word]) -> tuple[Cue, ...]:
    """Split words into cues.

    A cue ends at a pause, at a change of channel, and before it exceeds two lines or `MAX_CUE_S`.
    A short cue is shown for `MIN_CUE_S`, or until the next cue.
    """
    groups = list(_groups(words))
    next_starts = [group[0].start_s for group in groups[1:]] + [math.inf]
    return tuple(
        Cue(
            text=_two_lines([word.text for word in group]),
            start_s=group[0].start_s,
            end_s=max(group[-1].end_s, min(group[0].start_s + MIN_CUE_S, next_start_s)),
        )
        for group, next_start_s in zip(groups, next_starts, strict=False)
    )


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    chars = 0
    for word in words:
        if group and (
            word.start_s - group[-1].end_s >= PAUSE_S
            or word.channel != group[-1].channel
            or word.end_s - group[0].start_s > MAX_CUE_S
            or chars + 1 + len(word.text) > MAX_CUE_CHARS
        ):
            yield group
            group, chars = [], 0
        group.append(word)
        chars += len(word.text) + (chars > 0)
    if group:
        yield group


def _two_lines(words: Sequence[str]) -> str:
    text = " ".join(words)
    if len(text) <= MAX_LINE_CHARS or len(words) == 1:
        return text
    lines = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return "\n".join(min(lines, key=lambda pair: max(map(len, pair))))


def as_text(transcript: Transcript) -> str:
    """The text alone."""
    return f"{transcript.text}\n"


def as_srt(transcript: Transcript) -> str:
    """SubRip."""
    return "".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n{cue.text}\n\n"
        for number, cue in enumerate(cues(transcript.words), 1)
    )


def as_vtt(transcript: Transcript) -> str:
    """WebVTT."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n"
        f"{escape(cue.text, quote=False)}\n\n"
        for cue in cues(transcript.words)
    )


def as_tsv(transcript: Transcript) -> str:
    """A header, then one word per line: start, end, confidence and text."""
    rows = ["start_s\tend_s\tconfidence\ttext"]
    rows += [
        f"{word.start_s:.3f}\t{word.end_s:.3f}\t{word.confidence:.4f}\t{word.text}"
        for word in transcript.words
    ]
    return "\n".join(rows) + "\n"


FORMATS: Mapping[str, Callable[[Transcript], str]] = {
    "text": as_text,
    "srt": as_srt,
    "vtt": as_vtt,
    "tsv": as_tsv,
}


def fields(transcript: Transcript) -> dict[str, Any]:
    """The transcript as a dictionary, without the channels of words that have none."""
    return asdict(
        transcript,
        dict_factory=lambda items: {
            key: value for key, value in items if not (key == "channel" and value is None)
        },
    )


def _clock(time_s: float, point: str) -> str:
    total_ms = round(time_s * 1000)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"
