"""Writes RESULT of `transcribe_stream`, the JSON of the wire contract, version 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from asr_backend.ctc.transcription import Span
from asr_backend.front.look import Interim, LookResult, Segment
from asr_backend.front.result import CONTRACT_VERSION, confidence_value, rounded, span_object

Timestamps = Literal["none", "word", "char"]

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_look(
    look: LookResult,
    *,
    timestamps: Timestamps,
    model: Mapping[str, str],
    timing_ms: Mapping[str, float],
) -> bytes:
    """Write one RESULT element of `transcribe_stream`.

    Args:
        look: what was found.
        timestamps: "word" adds words, "char" the characters of finals too.
        model: the checkpoint that served the request.
        timing_ms: milliseconds by stage: decode, acoustic, ctc, total.

    Returns:
        JSON in UTF-8. Seconds count from the stream's start and have 3 decimals, confidences 4,
        milliseconds 1; finite numbers only.

    Raises:
        ValueError: a number is NaN or infinite, which is a defect of the service.
    """
    result: dict[str, Any] = {
        "contract": CONTRACT_VERSION,
        "audio_processed_s": rounded(look.processed / look.rate_hz, 3),
        "consumed_bytes": (look.consumed - look.position) * look.frame_bytes,
        "consumed_s": rounded(look.consumed / look.rate_hz, 3),
        "state": look.state,
        "segments": [_segment(segment, look.rate_hz, timestamps) for segment in look.segments],
    }
    if look.interim is not None:
        result["interim"] = _interim(look.interim, look.rate_hz, timestamps)
    result["speech"] = look.is_open
    result["model"] = dict(model)
    result["timing_ms"] = {stage: rounded(ms, 1) for stage, ms in timing_ms.items()}
    return _ENCODER.encode(result).encode()


def _segment(segment: Segment, rate_hz: int, timestamps: Timestamps) -> dict[str, Any]:
    found = segment.transcription
    value: dict[str, Any] = {
        "index": segment.index,
        "is_final": True,
        "first_frame": segment.start,
        "frames": segment.end - segment.start,
        "start_s": rounded(segment.start / rate_hz, 3),
        "end_s": rounded(segment.end / rate_hz, 3),
        "text": found.text,
        "confidence": confidence_value(found.confidence),
    }
    if timestamps != "none":
        value["words"] = _spans(found.words, segment.start / rate_hz)
    if timestamps == "char":
        value["chars"] = _spans(found.chars, segment.start / rate_hz)
    value["reason"] = segment.reason
    return value


def _interim(interim: Interim, rate_hz: int, timestamps: Timestamps) -> dict[str, Any]:
    found = interim.transcription
    value: dict[str, Any] = {
        "index": interim.index,
        "is_final": False,
        "start_s": rounded(interim.start / rate_hz, 3),
        "end_s": rounded(interim.end / rate_hz, 3),
        "text": found.text,
        "stable_text": " ".join(word.text for word in found.words[: interim.stable_words]),
    }
    if timestamps != "none":
        value["words"] = [
            {**word, "stable": place < interim.stable_words}
            for place, word in enumerate(_spans(found.words, interim.start / rate_hz))
        ]
    return value


def _spans(spans: Sequence[Span], offset_s: float) -> list[dict[str, str | float]]:
    """Words or characters, their times counted from the stream's start."""
    return [
        span_object(replace(span, start_s=offset_s + span.start_s, end_s=offset_s + span.end_s))
        for span in spans
    ]
