"""Looks at live audio, by a front on doubles: finals, interims, errors, the state."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.look import Look
from asr_backend.front.stages import Stages
from asr_backend.front.stream import TranscribeStream
from asr_backend.front.stream_options import parse_stream_options
from asr_backend.front.stream_state import (
    MAX_STATE_BYTES,
    MAX_WORDS,
    StreamState,
    read_state,
    word_hashes,
    write_state,
)
from asr_backend.segmentation.endpointer import EndpointerState
from asr_backend.segmentation.levels import HISTORY_FRAMES, frame_from
from asr_backend.triton_io.shared_memory import SharedMemory
from tests.support.backend.doubles import Request
from tests.support.backend.emissions import BASE_VOCABULARY, emissions
from tests.support.backend.front import PCM, Front, Reader, answered, request, text_of

STRIDE = 320


class Live(Front):
    """A front of `transcribe` whose recognizer also serves looks."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(**limits)
        self.stream = TranscribeStream(
            recognizer=self.model._recognizer,
            pb_utils=self.pb_utils,
            metrics=self.metrics,
            shared_memory=SharedMemory(self.pb_utils, free=lambda: 2**30),
        )

    async def look(self, audio: bytes, **options: Any) -> dict[str, Any]:
        made = request(audio, {**PCM, **options})
        await self.stream.execute([made])
        await answered(made)
        return json.loads(made.output("RESULT")[0, 0])

    async def refused(self, audio: bytes, options: dict[str, Any]) -> str:
        made = request(audio, options)
        await self.stream.execute([made])
        await answered(made)
        assert made.response is not None
        return made.response.error().message()

    async def transcript(self, audio: bytes) -> tuple[str, dict[str, Any]]:
        made = request(audio)
        await self.answer(made)
        return text_of(made), json.loads(made.output("RESULT")[0, 0])


def speech(words: str, gap: int = 6) -> np.ndarray:
    """Samples that Reader reads as these words: tones whose offset is the symbol's number.

    A level has no offset in it, so a tone is added that the double does not read.
    """
    symbols = [symbol for letter in words for symbol in (letter.replace(" ", "|"), "<pad>")]
    ids = [BASE_VOCABULARY.index(symbol) for symbol in symbols]
    tone = 3000 * np.sin(np.arange(STRIDE) * 2 * np.pi / 32)
    # The sample in the middle of a frame, which Reader reads, is at the tone's zero.
    return np.concatenate([1000 * id_ + tone for id_ in [*ids, *[0] * gap]]).astype("<i2")


def silence(frames: int) -> np.ndarray:
    return np.zeros(frames * STRIDE, "<i2")


TALK = np.concatenate(
    [
        *(silence(30), speech("AB CD"), silence(40), speech("EF"), silence(26)),
        *(speech("GH I JKL MN OPQ RS TU VWX YZ A B C DE FG"), silence(60), speech("HI")),
    ]
).tobytes()


async def finals(
    front: Live, audio: bytes, ends: list[int], seed: int | None = None, **options: Any
) -> list[dict[str, Any]]:
    """All finals of a stream looked at up to these bytes; with a seed, answers are lost."""
    rng = random.Random(seed) if seed is not None else None
    begin, state, found = 0, {}, []
    for end in sorted({*(2 * (end // 2) for end in ends), len(audio)}):
        is_last = end == len(audio)
        if end <= begin and not is_last:
            continue
        given: dict[str, Any] = {**options, **state, "end": is_last}
        result = await front.look(audio[begin:end], **given)
        if rng and rng.random() < 0.3:
            again = await front.look(audio[begin:end], **given)
            for key in set(result) - {"timing_ms"}:
                assert again[key] == result[key]
        if rng and rng.random() < 0.3 and not is_last:
            continue
        begin += result["consumed_bytes"]
        state = {"state": result["state"]}
        found += result["segments"]
        assert result["consumed_s"] == round(begin / 2 / 16_000, 3)
        assert len(result["state"]) <= MAX_STATE_BYTES
    assert begin == len(audio)
    return found


async def test_finals_are_those_of_transcribe():
    front = Live()
    found = await finals(front, TALK, [])
    assert [segment["index"] for segment in found] == list(range(len(found)))
    assert [segment["reason"] for segment in found[:2]] == ["pause", "pause"]
    assert found[-1]["reason"] == "end"
    assert "length" in {segment["reason"] for segment in found}
    assert " ".join(segment["text"] for segment in found) == (
        "AB CD EF GH I JKL MN OPQ RS TU VWX YZ A B C DE FG HI"
    )
    for segment in found:
        start, end = segment["first_frame"], segment["first_frame"] + segment["frames"]
        text, result = await front.transcript(TALK[2 * start : 2 * end])
        assert segment["text"] == text
        assert segment["confidence"] == result["confidence"]
        offset = start / 16_000
        assert (segment["start_s"], segment["end_s"]) == (offset, end / 16_000)
        for word, alone in zip(segment["words"], result["words"], strict=True):
            assert word["text"] == alone["text"]
            assert word["confidence"] == alone["confidence"]
            assert word["start_s"] == pytest.approx(offset + alone["start_s"], abs=0.002)
            assert word["end_s"] == pytest.approx(offset + alone["end_s"], abs=0.002)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, len(TALK)), max_size=25),
    st.booleans(),
    st.integers(0, 999),
    st.sampled_from([0.2, 0.5]),
)
def test_finals_do_not_depend_on_the_looks(
    ends: list[int], interim: bool, seed: int, endpoint_silence_s: float
):
    async def check() -> None:
        front = Live()
        options = {"endpoint_silence_s": endpoint_silence_s}
        whole = await finals(front, TALK, [], **options)
        assert await finals(front, TALK, ends, **options, interim=interim) == whole
        assert await finals(front, TALK, ends, seed, **options, interim=interim) == whole

    asyncio.run(check())


async def test_an_interim_has_the_words_so_far_and_says_which_are_stable():
    front = Live()
    audio = np.concatenate([silence(30), speech("AB CD"), speech("EF GH")])
    upto = 2 * STRIDE * (30 + 10 + 6)
    first = await front.look(audio.tobytes()[:upto])
    assert first["speech"]
    assert first["segments"] == []
    assert first["consumed_s"] == 0.4
    interim = first["interim"]
    assert (interim["index"], interim["is_final"]) == (0, False)
    assert (interim["text"], interim["stable_text"]) == ("AB CD", "")
    assert [word["stable"] for word in interim["words"]] == [False, False]
    assert interim["end_s"] == first["audio_processed_s"] == upto / 2 / 16_000
    rest = audio.tobytes()[first["consumed_bytes"] :]
    # The double reads the words again, and a space between them as the second word's end.
    second = await front.look(rest, state=first["state"])
    assert second["interim"]["text"].startswith("AB CD")
    agreed = [word["text"] for word in second["interim"]["words"] if word["stable"]]
    assert second["interim"]["stable_text"] == " ".join(agreed)
    assert agreed[0] == "AB"
    third = await front.look(rest, state=second["state"], timestamps="none")
    assert third["interim"]["stable_text"] == third["interim"]["text"]
    assert "words" not in third["interim"]
    assert third["consumed_bytes"] == 0


async def test_without_interims_the_network_is_asked_for_finals_alone():
    front = Live()
    audio = np.concatenate([silence(30), speech("AB CD")]).tobytes()
    result = await front.look(audio, interim=False)
    assert front.reader.windows == []
    assert result["speech"]
    assert "interim" not in result
    rest = audio[result["consumed_bytes"] :] + silence(30).tobytes()
    result = await front.look(rest, interim=False, state=result["state"])
    assert len(front.reader.windows) == 1
    assert [segment["text"] for segment in result["segments"]] == ["AB CD"]
    assert result["speech"] is False


async def test_windows_of_looks_are_live_and_those_of_long_recordings_yield():
    front = Live()
    await finals(front, TALK, [len(TALK) // 2])
    assert set(front.reader.precedences) == {"live"}
    front.reader.precedences.clear()
    await front.transcript(speech("AB").tobytes())
    assert front.reader.precedences == ["normal"]
    front.reader.precedences.clear()
    await front.transcript(TALK)
    assert len(front.reader.precedences) > 1
    assert set(front.reader.precedences) == {"yielding"}


async def test_silence_is_consumed_and_asks_for_nothing():
    front = Live()
    result = await front.look(silence(500).tobytes())
    assert front.reader.windows == []
    # The last 0.2 s may belong to the next segment.
    assert (result["audio_processed_s"], result["consumed_s"]) == (10.0, 9.8)
    assert (result["segments"], result["speech"], "interim" in result) == ([], False, False)


async def test_a_segment_without_words_takes_no_index():
    front = Live()
    audio = np.concatenate([silence(20), speech("", gap=20), silence(40), speech("AB")])
    (final,) = await finals(front, audio.tobytes(), [])
    assert (final["index"], final["text"]) == (0, "AB")
    assert len(front.reader.windows) == 2


async def test_speech_behind_a_cut_is_heard_though_the_part_before_it_has_no_words():
    """A segment without a pause is heard again up to its cut, and may then have no words."""

    class Deaf(Reader):
        async def log_probs(self, *arguments: Any) -> np.ndarray:
            found = await super().log_probs(*arguments)
            if len(self.windows) == 2:
                return emissions(["<pad>"] * len(found))
            return found

    words = "GH I JKL MN OPQ RS TU VWX YZ ABCDEFGHIJKLMNOPQRST UV WX YZ AB CD EF"
    audio = np.concatenate([silence(30), speech(words)]).tobytes()
    (first, *rest) = await finals(Live(), audio, [], max_segment_s=2)
    assert first["reason"] == "length"
    front = Live()
    front.reader = Deaf()
    front.stream._recognizer = replace(front.stream._recognizer, acoustic=front.reader)
    found = await finals(front, audio, [], max_segment_s=2)
    assert [segment["text"] for segment in found] == [segment["text"] for segment in rest]
    assert found[0]["first_frame"] == first["first_frame"] + first["frames"]


async def test_end_is_also_a_flush():
    front = Live()
    audio = np.concatenate([silence(20), speech("AB")]).tobytes()
    first = await front.look(audio, end=True)
    assert first["consumed_bytes"] == len(audio)
    assert [segment["reason"] for segment in first["segments"]] == ["end"]
    assert first["speech"] is False
    # Nothing new, and an end.
    empty = await front.look(b"", end=True, state=first["state"])
    assert (empty["segments"], empty["consumed_s"]) == ([], first["consumed_s"])
    second = await front.look(audio, end=True, state=empty["state"])
    (segment,) = second["segments"]
    assert (segment["index"], segment["text"]) == (1, "AB")
    assert segment["start_s"] >= first["consumed_s"]


async def test_a_slow_look_stops_behind_a_final_and_goes_on_where_it_stopped():
    front = Live()
    times = iter(range(0, 1000, 10))

    async def look(audio: bytes, state: str | None) -> Any:
        options = parse_stream_options(
            json.dumps({**PCM, **({"state": state} if state else {})}).encode(), max_window_s=2.0
        )
        return await Look(
            front.model._recognizer,
            options,
            audio,
            is_cancelled=lambda: False,
            stages=Stages(),
            clock=lambda: next(times),
        ).run()

    whole = await finals(front, TALK, [])
    found, begin, state = [], 0, None
    while True:
        result = await look(TALK[begin:], state)
        assert result.processed <= len(TALK) // 2
        begin += (result.consumed - result.position) * 2
        state = result.state
        if not result.segments:
            break
        (segment,) = result.segments
        assert result.interim is None
        found.append(segment)
    assert [segment.transcription.text for segment in found] == [
        segment["text"] for segment in whole[:-1]
    ]
    assert result.interim.transcription.text == whole[-1]["text"]


@pytest.mark.parametrize(
    ("audio", "options", "code"),
    [
        (b"", {}, "EMPTY_AUDIO"),
        (bytes(3), {}, "CORRUPT_AUDIO"),
        (bytes(6), {"channels": 2}, "CORRUPT_AUDIO"),
        (bytes(2 * (60 * 1000 + 1)), {"sample_rate": 1000}, "AUDIO_TOO_LONG"),
        (np.array([0, np.nan], "<f4").tobytes(), {"encoding": "pcm_f32le"}, "NON_FINITE_SAMPLES"),
        (bytes(640), {"max_segment_s": 2.5}, "BAD_OPTIONS"),
        (bytes(640), {"language": "xyz"}, "UNKNOWN_LANGUAGE"),
        *((bytes(640), {"state": state}, "BAD_OPTIONS") for state in ("", "1:2", "1:2:3:", "é")),
        (bytes(640), {"state": "1:2:3:AAAA"}, "BAD_OPTIONS"),
        (bytes(640), {"state": "9" * 5000}, "BAD_OPTIONS"),
        (bytes(640), {"encoding": "container"}, "BAD_OPTIONS"),
        (bytes(640), {"channel": "separate"}, "BAD_OPTIONS"),
        (bytes(640), {"decoder": "beam", "hotwords": ["%"]}, "BAD_OPTIONS"),
    ],
)
async def test_a_wrong_look_is_refused(audio: bytes, options: dict[str, Any], code: str):
    front = Live()
    message = await front.refused(audio, {**PCM, **options})
    assert message.startswith(f"{code}: ")
    assert front.pb_utils.metric("asr_stream_failures_total", outcome=code).value == 1


async def test_the_encoding_is_required():
    front = Live()
    message = await front.refused(bytes(640), {"end": True})
    assert message == 'BAD_OPTIONS: encoding is required, "pcm_s16le" or "pcm_f32le"'
    message = await front.refused(bytes(640), {"encoding": "pcm_s16le"})
    assert message.startswith("BAD_OPTIONS: encoding pcm_s16le requires sample_rate, an integer")


async def test_a_request_of_two_rows_is_refused():
    made = Request(
        AUDIO=np.array([[b""], [b""]], dtype=object), OPTIONS=np.array([[b"{}"]], dtype=object)
    )
    front = Live()
    await front.stream.execute([made])
    await answered(made)
    made = Request(
        AUDIO=np.array([[b""], [b""]], dtype=object),
        OPTIONS=np.array([[json.dumps(PCM).encode()]], dtype=object),
    )
    await front.stream.execute([made])
    await answered(made)
    assert made.response is not None
    assert made.response.error().message().startswith("BAD_SHAPE: ")


async def test_looks_are_counted():
    front = Live()
    await finals(front, TALK, [len(TALK) // 2])
    metric = front.pb_utils.metric
    assert metric("asr_stream_audio_seconds_total").value == pytest.approx(len(TALK) / 32_000)
    computed_s = sum(front.reader.windows) / 16_000
    assert metric("asr_stream_computed_seconds_total").value == pytest.approx(computed_s)
    assert len(metric("asr_stream_look_seconds", kind="final").observed) == 2
    assert metric("asr_stream_segments_total", reason="pause").value >= 2
    assert metric("asr_stream_segments_total", reason="end").value == 1
    assert not front.pb_utils.MetricFamily.families["asr_stream_failures_total"].metrics
    # Those of recordings are left alone.
    assert not front.pb_utils.MetricFamily.families["asr_stage_seconds"].metrics


states = st.builds(
    StreamState,
    endpointer=st.builds(
        lambda position, behind, is_open, is_unsure, threshold, history: EndpointerState(
            position=position * 320,
            decided=position + behind,
            is_open=is_open,
            is_unsure=is_unsure,
            threshold=threshold,
            history=history,
        ),
        st.integers(0, 10**9),
        st.integers(0, 3000),
        st.booleans(),
        st.booleans(),
        st.integers(0, 2**16 - 1),
        st.binary(max_size=HISTORY_FRAMES),
    ),
    index=st.integers(0, 10**9 - 1),
    words=st.lists(st.text(max_size=5), max_size=20).map(word_hashes),
)


@given(states)
def test_a_state_is_read_as_it_was_written(state: StreamState):
    assert read_state(write_state(state, 16_000), 16_000) == state


@given(states, st.integers(0, 10**6), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_changed_state_is_refused(state: StreamState, place: int, letter: str):
    text = write_state(state, 16_000)
    place = 2 + place % (len(text) - 2)
    changed = text[:place] + letter + text[place + 1 :]
    try:
        assert read_state(changed, 16_000) in (state, read_state(text, 16_000))
        # base64 ignores the last bits.
        assert changed == text or place == len(text) - 1
    except AsrError as error:
        assert error.code is ErrorCode.BAD_OPTIONS


def test_the_longest_state_fits():
    state = StreamState(
        endpointer=EndpointerState(
            position=10**15 - 1,
            decided=frame_from(10**15, 384_000) + 3_000,
            threshold=2**16 - 1,
            history=bytes(HISTORY_FRAMES),
        ),
        index=10**9 - 1,
        words=word_hashes(["A"] * 2 * MAX_WORDS),
    )
    assert len(write_state(state, 384_000)) <= MAX_STATE_BYTES


@given(st.integers(2, 9999), st.integers(0, 10**15 - 1), st.integers(0, 10**9 - 1))
def test_another_version_s_state_keeps_position_and_index(version: int, position: int, index: int):
    state = read_state(f"{version}:{position}:{index}:what=ever/it;says", 16_000)
    assert state == StreamState(endpointer=EndpointerState(position=position), index=index)


async def test_a_stream_goes_on_from_another_version_s_state():
    front = Live()
    first = await front.look(TALK[: len(TALK) // 2])
    version, position, index, _ = first["state"].split(":")
    assert (version, int(position) / 16_000) == ("1", first["consumed_s"])
    rest = await front.look(
        TALK[first["consumed_bytes"] :], state=f"2:{position}:{index}:?", end=True
    )
    assert rest["segments"][0]["index"] == int(index) == len(first["segments"])
    assert rest["segments"][0]["start_s"] >= first["consumed_s"]


@given(st.binary(max_size=200))
def test_no_state_breaks_the_reader(raw: bytes):
    try:
        read_state(raw.decode("latin-1"), 16_000)
    except AsrError as error:
        assert error.code is ErrorCode.BAD_OPTIONS
