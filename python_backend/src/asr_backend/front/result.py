"""Writes RESULT, the JSON of the wire contract, version 1."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from asr_backend.audio.warning import AudioWarning
from asr_backend.ctc.transcription import Span, Transcription

CONTRACT_VERSION = 1

_SPANS_AT_ONCE = 200
"""Words or characters that one call of json encodes. Such a call holds the interpreter lock for
half a millisecond; other threads, such as a front's event loop, run between two calls."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_result(
    *,
    transcription: Transcription,
    duration_s: float,
    timestamps: Literal["none", "word", "char"],
    model_id: str,
    model_revision: str,
    timing_ms: Mapping[str, float],
    warnings: Sequence[AudioWarning] = (),
) -> bytes:
    """Write one RESULT element: JSON in UTF-8, with the requested keys only.

    Args:
        transcription: text, confidence, words and characters, times in seconds.
        duration_s: length of the submitted audio.
        timestamps: "word" adds the words, "char" the words and the characters.
        model_id: the checkpoint that served the request.
        model_revision: its version.
        timing_ms: milliseconds by stage: decode, acoustic, ctc, total.
        warnings: about the audio; the key is absent if there are none.

    Returns:
        Seconds with 3 decimals, confidences with 4, milliseconds with 1; finite numbers only.

    Raises:
        ValueError: a number is NaN or infinite, which is a defect of the service.
    """
    result = {
        "contract": _ENCODER.encode(CONTRACT_VERSION),
        "text": _ENCODER.encode(transcription.text),
        "duration_s": _ENCODER.encode(_rounded(duration_s, 3)),
        "confidence": _ENCODER.encode(_confidence(transcription.confidence)),
    }
    if timestamps != "none":
        result["words"] = _spans(transcription.words)
    if timestamps == "char":
        result["chars"] = _spans(transcription.chars)
    if transcription.channels:
        result["channels"] = _ENCODER.encode(
            [
                {"channel": index, "text": one.text, "confidence": _confidence(one.confidence)}
                for index, one in enumerate(transcription.channels)
            ]
        )
    if warnings:
        result["warnings"] = _ENCODER.encode(
            [{"code": one.code.value, "message": one.message} for one in warnings]
        )
    result["model"] = _ENCODER.encode({"id": model_id, "revision": model_revision})
    result["timing_ms"] = _ENCODER.encode(
        {stage: _rounded(ms, 1) for stage, ms in timing_ms.items()}
    )
    return ("{" + ",".join(f'"{key}":{value}' for key, value in result.items()) + "}").encode()


def _spans(spans: Sequence[Span]) -> str:
    """A list of words or characters as JSON."""
    parts = (
        _ENCODER.encode([_span(span) for span in spans[start : start + _SPANS_AT_ONCE]])[1:-1]
        for start in range(0, len(spans), _SPANS_AT_ONCE)
    )
    return "[" + ",".join(parts) + "]"


def _span(span: Span) -> dict[str, str | float]:
    value: dict[str, str | float] = {
        "text": span.text,
        "start_s": _rounded(span.start_s, 3),
        "end_s": _rounded(span.end_s, 3),
        "confidence": _confidence(span.confidence),
    }
    return value if span.channel is None else {**value, "channel": span.channel}


def _rounded(value: float, digits: int) -> float:
    # float() because json knows no numpy scalar.
    return round(float(value), digits)


def _confidence(value: float) -> float:
    # min and max would turn a NaN into a plausible number.
    if math.isnan(value):
        raise ValueError("a confidence is NaN")
    return _rounded(min(1.0, max(0.0, value)), 4)
