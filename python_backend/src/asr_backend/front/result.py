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
    model: Mapping[str, str],
    timing_ms: Mapping[str, float],
    warnings: Sequence[AudioWarning] = (),
) -> bytes:
    """Write one RESULT element: JSON in UTF-8, with the requested keys only.

    Args:
        transcription: text, confidence, words and characters, times in seconds.
        duration_s: length of the submitted audio.
        timestamps: "word" adds the words, "char" the words and the characters.
        model: the checkpoint that served the request: `id`, `revision`, and where asr-server wrote
            them `precision` and `fingerprint`.
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
        "duration_s": _ENCODER.encode(rounded(duration_s, 3)),
        "confidence": _ENCODER.encode(confidence_value(transcription.confidence)),
    }
    if timestamps != "none":
        result["words"] = _spans(transcription.words)
    if timestamps == "char":
        result["chars"] = _spans(transcription.chars)
    if transcription.channels:
        result["channels"] = _ENCODER.encode(
            [
                {"channel": index, "text": one.text, "confidence": confidence_value(one.confidence)}
                for index, one in enumerate(transcription.channels)
            ]
        )
    if warnings:
        result["warnings"] = _ENCODER.encode(
            [{"code": one.code.value, "message": one.message} for one in warnings]
        )
    result["model"] = _ENCODER.encode(model)
    result["timing_ms"] = _ENCODER.encode(
        {stage: rounded(ms, 1) for stage, ms in timing_ms.items()}
    )
    return ("{" + ",".join(f'"{key}":{value}' for key, value in result.items()) + "}").encode()


def _spans(spans: Sequence[Span]) -> str:
    """A list of words or characters as JSON."""
    parts = (
        _ENCODER.encode([span_object(span) for span in spans[start : start + _SPANS_AT_ONCE]])[1:-1]
        for start in range(0, len(spans), _SPANS_AT_ONCE)
    )
    return "[" + ",".join(parts) + "]"


def span_object(span: Span) -> dict[str, str | float]:
    """A word or a character, times with 3 decimals and the confidence with 4."""
    value: dict[str, str | float] = {
        "text": span.text,
        "start_s": rounded(span.start_s, 3),
        "end_s": rounded(span.end_s, 3),
        "confidence": confidence_value(span.confidence),
    }
    return value if span.channel is None else {**value, "channel": span.channel}


def rounded(value: float, digits: int) -> float:
    """A number with so many decimals, as Python's float."""
    # float() because json knows no numpy scalar.
    return round(float(value), digits)


def confidence_value(value: float) -> float:
    """A confidence with 4 decimals.

    Raises:
        ValueError: it is NaN, which is a defect of the service.
    """
    # min and max would turn a NaN into a plausible number.
    if math.isnan(value):
        raise ValueError("a confidence is NaN")
    return rounded(min(1.0, max(0.0, value)), 4)
