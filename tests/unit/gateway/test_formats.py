from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import ModelInfo, Timing, Transcript, Word
from asr_gateway.openai import formats, subtitles
from asr_gateway.openai.fields import check


def transcript(*words: Word, text: str | None = None) -> Transcript:
    return Transcript(
        text=" ".join(word.text for word in words) if text is None else text,
        duration_s=99.25,
        confidence=0.5,
        words=words,
        chars=(),
        channels=(),
        model=ModelInfo(id="m", revision="1"),
        timing_ms=Timing(decode=1, acoustic=1, ctc=1, total=3),
        request_id="r",
    )


def word(text: str, start_s: float, end_s: float, confidence: float = 0.9) -> Word:
    return Word(text=text, start_s=start_s, end_s=end_s, confidence=confidence)


words = st.lists(
    st.tuples(st.text("abc&<é", min_size=1, max_size=50), st.floats(0, 3), st.floats(0, 2)),
    max_size=60,
)


def timeline(drawn: list[tuple[str, float, float]]) -> list[Word]:
    made, now = [], 0.0
    for text, pause, length in drawn:
        made.append(word(text, now + pause, now + pause + length))
        now += pause + length
    return made


@given(words)
def test_groups_lose_no_word_and_keep_to_their_shape(drawn: list[tuple[str, float, float]]):
    given_words = timeline(drawn)
    for shape in (subtitles.CUE, subtitles.SEGMENT):
        groups = list(subtitles.groups(given_words, shape))
        assert [each for group in groups for each in group] == given_words
        for group in groups:
            if len(group) > 1:
                assert len(" ".join(each.text for each in group)) <= shape.max_chars
                assert group[-1].end_s - group[0].start_s <= shape.max_s


@given(words)
def test_verbose_json_joins_to_the_text_and_is_json(drawn: list[tuple[str, float, float]]):
    heard = transcript(*timeline(drawn))
    fields = [("model", "m"), ("response_format", "verbose_json")]
    asked = check(fields, own_language="en", decoder="auto")
    body = json.loads(json.dumps(formats.verbose(heard, asked), allow_nan=False))
    assert "".join(segment["text"] for segment in body["segments"]) == heard.text
    assert body["usage"] == {"type": "duration", "seconds": 100}


def test_words_carry_their_confidence():
    fields = [("model", "m"), ("response_format", "verbose_json")]
    fields.append(("timestamp_granularities[]", "word"))
    asked = check(fields, own_language="en", decoder="auto")
    heard = transcript(word("one", 0.5, 0.7, 0.875))
    assert formats.verbose(heard, asked)["words"] == [
        {"word": "one", "start": 0.5, "end": 0.7, "confidence": 0.875}
    ]


@given(st.lists(st.text("ab \n漢", max_size=5)))
def test_deltas_join_to_the_text(parts: list[str]):
    text = "".join(parts).strip()
    events = [json.loads(e.split("data: ")[1]) for e in formats.events(transcript(text=text))]
    assert events[-1] == {"type": "transcript.text.done", "text": text}
    assert "".join(event["delta"] for event in events[:-1]) == text


def test_cues():
    heard = [word("one", 0.5, 0.7), word("two", 0.8, 1.0), word("three", 1.2, 1.25)]
    later = [word("a<b", 2.0, 2.1), word("end", 3661.5, 3661.6)]
    assert subtitles.srt([*heard, *later]) == (
        "1\n00:00:00,500 --> 00:00:01,500\none two three\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\na<b\n\n"
        "3\n01:01:01,500 --> 01:01:02,500\nend\n\n"
    )
    assert "\na&lt;b\n" in subtitles.vtt(later)


def test_a_cue_ends_before_the_next_and_has_two_lines_at_most():
    long = "a" * 30
    heard = [word(long, 0.0, 0.1), word(long, 0.1, 0.2), word(long, 0.2, 0.3)]
    assert subtitles.srt(heard).startswith(f"1\n00:00:00,000 --> 00:00:00,200\n{long}\n{long}\n")


@pytest.mark.parametrize("format", ["srt", "vtt", "text", "json", "verbose_json"])
def test_silence_is_an_answer_too(format: str):
    fields = [("model", "m"), ("response_format", format)]
    asked = check(fields, own_language="en", decoder="auto")
    answer = formats.response(transcript(), asked)
    assert answer.status_code == 200
