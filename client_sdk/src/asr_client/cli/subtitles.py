"""Transcripts as text, subtitles and tables. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from asr_client import _subtitles
from asr_client._subtitles import (
    MAX_CUE_CHARS,
    MAX_CUE_S,
    MAX_LINE_CHARS,
    MIN_CUE_S,
    PAUSE_S,
    Cue,
    cues,
)
from asr_client._types import Transcript

__all__ = [
    "FORMATS",
    "MAX_CUE_CHARS",
    "MAX_CUE_S",
    "MAX_LINE_CHARS",
    "MIN_CUE_S",
    "PAUSE_S",
    "Cue",
    "as_srt",
    "as_text",
    "as_tsv",
    "as_vtt",
    "cues",
]


def as_text(transcript: Transcript) -> str:
    """The text alone."""
    return f"{transcript.text}\n"


def as_srt(transcript: Transcript) -> str:
    """SubRip."""
    return _subtitles.as_srt(transcript.words, transcript.chars)


def as_vtt(transcript: Transcript) -> str:
    """WebVTT."""
    return _subtitles.as_vtt(transcript.words, transcript.chars)


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
