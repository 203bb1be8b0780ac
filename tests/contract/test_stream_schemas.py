"""contract/v1 says what `transcribe_stream` takes and answers: backend and page."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.ctc.transcription import Span, Transcription
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.look import Interim, LookResult, Segment
from asr_backend.front.options import MAX_OPTIONS_BYTES
from asr_backend.front.stream_options import MAX_LOOK_S, StreamOptions, parse_stream_options
from asr_backend.front.stream_result import encode_look
from asr_backend.front.stream_state import StreamState, write_state
from tests.contract.schemas import RESULT, STREAM_OPTIONS, STREAM_RESULT, allows, closed

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
LIVE = PAGE.split("\n## The model `transcribe_stream`\n")[1].split("\n## ")[0]
PCM = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
BEAM = {"decoder": "beam"}

ALLOWED: list[dict[str, Any]] = [
    PCM,
    {**PCM, "encoding": "pcm_f32le", "sample_rate": 384_000, "channels": 64},
    *({**PCM, "timestamps": value} for value in ("none", "word", "char")),
    {**PCM, **BEAM, "beam_width": 7, "hotwords": ["ace"], "hotword_weight": 3.5},
    *({**PCM, "channel": value} for value in ("mix", 0)),
    *({**PCM, "state": value} for value in ("", "x" * 4096)),
    *({**PCM, key: value} for key in ("end", "interim") for value in (True, False)),
    *({**PCM, "endpoint_silence_s": value} for value in (0.2, 1, 5)),
    *({**PCM, "max_segment_s": value} for value in (2, 15.5, 55)),
    {**PCM, "language": "deu"},
]
REFUSED: list[Any] = [
    [],
    {},
    {"encoding": "pcm_s16le"},
    {**PCM, "encoding": "container"},
    {**PCM, "unknown": 1},
    {**PCM, "sample_rate": 999},
    {**PCM, "channels": 0},
    {**PCM, "channel": "separate"},
    {**PCM, "channel": 1},
    {**PCM, "timestamps": "sentence"},
    {**PCM, "decoder": "viterbi"},
    {**PCM, "language": ""},
    {**PCM, "beam_width": 7},
    {**PCM, "hotwords": []},
    {**PCM, "hotword_weight": 1},
    {**PCM, "state": "x" * 4097},
    {**PCM, "state": None},
    *({**PCM, key: value} for key in ("end", "interim") for value in (1, "true", None)),
    *({**PCM, "endpoint_silence_s": value} for value in (0.19, 5.1, "1", True)),
    *({**PCM, "max_segment_s": value} for value in (1.9, 55.1, None)),
]


def _parse(options: Any) -> StreamOptions:
    return parse_stream_options(json.dumps(options).encode(), max_window_s=60)


@pytest.mark.parametrize("options", ALLOWED, ids=json.dumps)
def test_what_the_schema_allows_is_taken(options: dict[str, Any]) -> None:
    assert allows(options, STREAM_OPTIONS)
    assert _parse(options)


@pytest.mark.parametrize("options", REFUSED, ids=json.dumps)
def test_what_the_schema_refuses_is_refused(options: Any) -> None:
    assert not allows(options, STREAM_OPTIONS)
    with pytest.raises(AsrError) as refused:
        _parse(options)
    assert refused.value.code is ErrorCode.BAD_OPTIONS


def test_the_tables_have_every_key() -> None:
    keys = set(STREAM_OPTIONS["properties"])
    assert {key for options in ALLOWED for key in options} == keys
    assert keys < {key for options in REFUSED if isinstance(options, dict) for key in options}


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70),
    st.floats(-1, 60),
    st.sampled_from(["mix", "separate", "beam", "greedy", "char", "pcm_f32le", "container"]),
    st.text(max_size=3),
)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(sorted(STREAM_OPTIONS["properties"])), _VALUES))
def test_backend_and_schema_agree_on_any_options(options: dict[str, Any]) -> None:
    for candidate in (options, {**PCM, **options}, {**PCM, **BEAM, **options}):
        accepted = False
        with suppress(AsrError):
            _parse(candidate)
            accepted = True
        assert allows(candidate, STREAM_OPTIONS) == accepted


def test_keys_and_defaults_are_those_of_the_backend() -> None:
    assert list(STREAM_OPTIONS["properties"]) == list(StreamOptions.model_fields)
    for key, field in StreamOptions.model_fields.items():
        default = None if field.is_required() else field.default
        assert STREAM_OPTIONS["properties"][key].get("default") == default
    assert STREAM_OPTIONS["x-maxBytes"] == MAX_OPTIONS_BYTES


def test_a_longer_segment_than_a_window_is_refused() -> None:
    options = json.dumps({**PCM, "max_segment_s": 20.5}).encode()
    with pytest.raises(AsrError, match="max_segment_s must be at most 20"):
        parse_stream_options(options, max_window_s=20)


SPAN = Span(text="A", start_s=0.1, end_s=1, confidence=1)
FOUND = Transcription(text="A", confidence=1, words=(SPAN,), chars=(SPAN,))
LOOK = LookResult(
    rate_hz=16_000,
    position=16_000,
    processed=64_000,
    consumed=48_000,
    frame_bytes=2,
    state=write_state(StreamState(), 16_000),
    segments=(Segment(index=3, start=16_000, end=48_000, reason="pause", transcription=FOUND),),
    interim=Interim(index=4, start=48_000, end=64_000, transcription=FOUND, stable_words=1),
    is_open=True,
    computed_s=3.0,
)


def _result(timestamps: Any) -> dict[str, Any]:
    timing = {"decode": 1.0, "acoustic": 1.0, "ctc": 1.0, "total": 1.0}
    model = {"id": "m", "revision": "r"}
    raw = encode_look(LOOK, timestamps=timestamps, model=model, timing_ms=timing)
    result: dict[str, Any] = json.loads(raw)
    return result


@pytest.mark.parametrize("timestamps", ["none", "word", "char"])
def test_the_result_is_that_of_the_schema(timestamps: str) -> None:
    result = _result(timestamps)
    assert not [error.message for error in closed(STREAM_RESULT).iter_errors(result)]
    (segment,) = result["segments"]
    assert ("words" in segment, "chars" in segment) == (timestamps != "none", timestamps == "char")
    assert ("words" in result["interim"]) == (timestamps != "none")
    assert "chars" not in result["interim"]


def test_every_key_of_the_schema_is_written_and_times_are_the_stream_s() -> None:
    result = _result("char")
    properties = STREAM_RESULT["properties"]
    assert list(result) == list(properties)
    assert list(result["segments"][0]) == list(properties["segments"]["items"]["properties"])
    assert list(result["interim"]) == list(properties["interim"]["properties"])
    word = result["interim"]["words"][0]
    assert word == {"text": "A", "start_s": 3.1, "end_s": 4.0, "confidence": 1.0, "stable": True}
    assert result["segments"][0]["words"][0]["start_s"] == 1.1
    assert (result["consumed_bytes"], result["consumed_s"]) == (64_000, 3.0)
    # One word is one word in both models.
    assert STREAM_RESULT["$defs"]["span"]["properties"] == {
        key: value
        for key, value in RESULT["$defs"]["span"]["properties"].items()
        if key != "channel"
    }


def _rows(table: int) -> list[list[str]]:
    tables = re.findall(r"(?:^\|.*\n)+", LIVE, re.MULTILINE)
    lines = tables[table].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_the_options_of_live_audio() -> None:
    table = {row[0].strip("`"): row for row in _rows(1)}
    assert list(table) == [key for key in StreamOptions.model_fields if key in table]
    for key in table:
        field = StreamOptions.model_fields[key]
        assert table[key][1] == field.description
        shown = "required" if field.is_required() else json.dumps(field.default)
        assert table[key][2] == ("" if field.default is None else shown)
    others = set(StreamOptions.model_fields) - set(table)
    text = LIVE.split("\n### RESULT\n")[0]
    assert all(f"`{key}`" in text for key in others)


def test_the_page_has_the_result_of_live_audio() -> None:
    properties = STREAM_RESULT["properties"]
    assert [row[0].strip("`") for row in _rows(2)] == list(properties)
    segment = [row[0].strip("`") for row in _rows(3)]
    assert segment == list(properties["segments"]["items"]["properties"])
    interim = [row[0].strip("`") for row in _rows(4)]
    assert interim == list(properties["interim"]["properties"])
    (example,) = re.findall(r"```json\n(.*?)```", LIVE, re.DOTALL)
    shown = json.loads(example)
    assert not [error.message for error in closed(STREAM_RESULT).iter_errors(shown)]


def test_the_page_states_the_longest_look() -> None:
    assert f"at most {MAX_LOOK_S:g} s" in LIVE
