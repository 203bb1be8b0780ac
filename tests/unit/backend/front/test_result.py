from __future__ import annotations

import json
from typing import Any

import pytest

from asr_backend.audio.warning import AudioWarning, WarningCode
from asr_backend.ctc.transcription import Span, Transcription, side_by_side
from asr_backend.front import result as result_module
from asr_backend.front.result import encode_result

TRANSCRIPTION = Transcription(
    text="ÄH NO",
    confidence=0.987654321,
    words=(
        Span(text="ÄH", start_s=0.020001, end_s=0.31999, confidence=0.5),
        Span(text="NO", start_s=0.4, end_s=0.56, confidence=1.0000001),
    ),
    chars=(Span(text="Ä", start_s=0.02, end_s=0.04, confidence=0.25),),
)


def result(timestamps: Any = "char", **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "transcription": TRANSCRIPTION,
        "duration_s": 1.23456,
        "timestamps": timestamps,
        "model": {"id": "demo", "revision": "0.1.0"},
        "timing_ms": {"decode": 1.26, "acoustic": 100.0, "ctc": 0.04, "total": 103.21},
    }
    value = json.loads(encode_result(**(arguments | changes)))
    assert isinstance(value, dict)
    return value


def test_result_by_the_contract() -> None:
    assert result() == {
        "contract": 1,
        "text": "ÄH NO",
        "duration_s": 1.235,
        "confidence": 0.9877,
        "words": [
            {"text": "ÄH", "start_s": 0.02, "end_s": 0.32, "confidence": 0.5},
            {"text": "NO", "start_s": 0.4, "end_s": 0.56, "confidence": 1.0},
        ],
        "chars": [{"text": "Ä", "start_s": 0.02, "end_s": 0.04, "confidence": 0.25}],
        "model": {"id": "demo", "revision": "0.1.0"},
        "timing_ms": {"decode": 1.3, "acoustic": 100.0, "ctc": 0.0, "total": 103.2},
    }


def test_warnings_are_there_only_if_there_are_any() -> None:
    assert "warnings" not in result()
    warning = AudioWarning(code=WarningCode.CLIPPED, message="loud")
    assert result(warnings=[warning])["warnings"] == [{"code": "CLIPPED", "message": "loud"}]


def test_a_long_result_is_encoded_in_short_steps_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = []

    class Encoder(json.JSONEncoder):
        def encode(self, value: Any) -> str:
            text = super().encode(value)
            steps.append(len(text))
            return text

    encoder = Encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    monkeypatch.setattr(result_module, "_ENCODER", encoder)
    spans = tuple(
        Span(text="Ä", start_s=index / 100, end_s=index / 100 + 0.02, confidence=0.5)
        for index in range(5_001)
    )
    long = Transcription(text="Ä", confidence=0.5, words=spans, chars=spans)
    value = result(transcription=long)
    assert [span["start_s"] for span in value["chars"]] == [span.start_s for span in spans]
    assert value["words"] == value["chars"]
    # The result has 700,000 characters. One call of json holds the interpreter lock to its end.
    assert max(steps) < 20_000


def test_channels_by_the_contract() -> None:
    def spoken(text: str, start_s: float, confidence: float) -> Transcription:
        span = Span(text=text, start_s=start_s, end_s=start_s + 1, confidence=confidence)
        return Transcription(text=text, confidence=confidence, words=(span,), chars=(span,))

    nothing = Transcription(text="", confidence=0.5, words=(), chars=())
    value = result(transcription=side_by_side([spoken("B", 2, 0.4), spoken("A", 1, 0.9), nothing]))
    assert value["text"] == "B\nA\n"
    assert value["confidence"] == 0.65
    assert value["words"] == [
        {"text": "A", "start_s": 1, "end_s": 2, "confidence": 0.9, "channel": 1},
        {"text": "B", "start_s": 2, "end_s": 3, "confidence": 0.4, "channel": 0},
    ]
    assert value["chars"] == value["words"]
    assert value["channels"] == [
        {"channel": 0, "text": "B", "confidence": 0.4},
        {"channel": 1, "text": "A", "confidence": 0.9},
        {"channel": 2, "text": "", "confidence": 0.5},
    ]
    silent = result(transcription=side_by_side([nothing, nothing]))
    assert (silent["text"], silent["confidence"], silent["words"]) == ("\n", 0.5, [])


def test_what_was_not_asked_for_is_absent() -> None:
    assert "chars" not in result("word")
    assert "words" in result("word")
    assert not {"words", "chars"} & result("none").keys()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_result_holds_finite_numbers_only(bad: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        result(duration_s=bad)
    with pytest.raises(ValueError, match="JSON"):
        result(timing_ms={"total": bad})


def test_a_confidence_that_is_nan_is_a_defect() -> None:
    broken = Transcription(text="", confidence=float("nan"), words=(), chars=())
    with pytest.raises(ValueError, match="NaN"):
        result(transcription=broken)
