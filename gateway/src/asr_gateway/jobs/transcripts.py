"""Transcripts in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from asr_client import ModelInfo, Timing, Transcript, Word


def to_json(transcript: Transcript) -> dict[str, Any]:
    """What the formats of OpenAI's API need of a transcript, and where it came from."""
    return {
        "text": transcript.text,
        "duration_s": transcript.duration_s,
        "confidence": transcript.confidence,
        "words": [
            [word.text, word.start_s, word.end_s, word.confidence] for word in transcript.words
        ],
        "model": dataclasses.asdict(transcript.model),
        "timing_ms": dataclasses.asdict(transcript.timing_ms),
        "request_id": transcript.request_id,
    }


def from_json(stored: Mapping[str, Any]) -> Transcript:
    """What `to_json` made."""
    words = tuple(
        Word(text=text, start_s=start_s, end_s=end_s, confidence=confidence)
        for text, start_s, end_s, confidence in stored["words"]
    )
    return Transcript(
        text=stored["text"],
        duration_s=stored["duration_s"],
        confidence=stored["confidence"],
        words=words,
        chars=(),
        channels=(),
        model=ModelInfo(**stored["model"]),
        timing_ms=Timing(**stored["timing_ms"]),
        request_id=stored["request_id"],
    )
