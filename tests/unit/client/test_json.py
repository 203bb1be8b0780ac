"""The JSON of OPTIONS and RESULT."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import asr_client
from asr_client._audio import Payload
from asr_client._json import options_json, transcript
from asr_client._wire import ContractError

RESULT: dict[str, Any] = {
    "contract": 1,
    "text": "go on",
    "duration_s": 2.5,
    "confidence": 0.75,
    "words": [
        {"text": "go", "start_s": 0.5, "end_s": 1.0, "confidence": 0.5},
        {"text": "on", "start_s": 1, "end_s": 2, "confidence": 1},
    ],
    "model": {"id": "demo", "revision": "1"},
    "timing_ms": {"decode": 1.0, "acoustic": 2.0, "ctc": 3.0, "total": 7},
}


def test_a_later_server_says_more_of_its_model() -> None:
    model = {**RESULT["model"], "precision": "int8", "fingerprint": "0f"}
    read = transcript(json.dumps({**RESULT, "model": model}).encode(), request_id="r")
    assert read.model == asr_client.ModelInfo(
        id="demo", revision="1", precision="int8", fingerprint="0f"
    )


def test_options_say_what_was_given_and_no_more() -> None:
    payload = Payload(data=b"", encoding="pcm_s16le", sample_rate=8000, channels=2)
    options = {"timestamps": "none", "hotwords": ("ace",), "language": None}
    assert json.loads(options_json(payload, options)) == {
        "encoding": "pcm_s16le",
        "sample_rate": 8000,
        "channels": 2,
        "timestamps": "none",
        "hotwords": ["ace"],
    }


def test_numpy_numbers_are_numbers() -> None:
    payload = Payload(data=b"", encoding="container")
    options = {"channel": np.int64(1), "hotword_weight": np.float32(0.5), "hotwords": {"a": 1}}
    document = json.loads(options_json(payload, {**options, "hotwords": {"a": 1}.keys()}))
    assert document["channel"] == 1
    assert document["hotword_weight"] == 0.5
    assert document["hotwords"] == ["a"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"hotwords": "ace"}, TypeError),
        ({"channel": object()}, TypeError),
        ({"hotword_weight": math.nan}, ValueError),
    ],
)
def test_options_that_json_cannot_say_are_refused(
    options: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        options_json(Payload(data=b"", encoding="container"), options)


def test_a_result_is_read_to_the_last_field() -> None:
    chars = [{"text": "g", "start_s": 0.5, "end_s": 0.6, "confidence": 0.5, "channel": 1}]
    channels = [{"channel": 1, "text": "go on", "confidence": 0.5}]
    warnings = [{"code": "CLIPPED", "message": "loud", "new_in_later_servers": 1}]
    document = {
        **RESULT,
        **{"chars": chars, "channels": channels, "warnings": warnings, "new_in_later_servers": 1},
    }
    read = transcript(json.dumps(document).encode(), request_id="r")
    assert read == asr_client.Transcript(
        text="go on",
        duration_s=2.5,
        confidence=0.75,
        words=(
            asr_client.Word(text="go", start_s=0.5, end_s=1.0, confidence=0.5),
            asr_client.Word(text="on", start_s=1.0, end_s=2.0, confidence=1.0),
        ),
        chars=(asr_client.Char(text="g", start_s=0.5, end_s=0.6, confidence=0.5, channel=1),),
        channels=(asr_client.ChannelTranscript(channel=1, text="go on", confidence=0.5),),
        model=asr_client.ModelInfo(id="demo", revision="1"),
        timing_ms=asr_client.Timing(decode=1.0, acoustic=2.0, ctc=3.0, total=7.0),
        request_id="r",
        warnings=(asr_client.AudioWarning(code="CLIPPED", message="loud"),),
    )
    with pytest.raises(AttributeError):
        read.text = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        json.dumps({**RESULT, "contract": 2}).encode(),
        json.dumps({**RESULT, "words": [{}]}).encode(),
        json.dumps({**RESULT, "words": 1}).encode(),
        json.dumps({**RESULT, "model": None}).encode(),
        json.dumps({**RESULT, "duration_s": "long"}).encode(),
        json.dumps({**RESULT, "duration_s": 10**400}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_result_that_breaks_the_contract_is_refused(document: bytes) -> None:
    with pytest.raises(ContractError):
        transcript(document, request_id="")
