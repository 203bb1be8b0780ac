"""The front without Triton: audio whose levels spell letters, and a network that reads them."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from typing import Any

import numpy as np
import pytest

from asr_backend.audio import containers
from asr_backend.ctc.beam import BeamSearch
from asr_backend.triton_io.errors import UpstreamError
from asr_backend.triton_io.metrics import Metrics
from tests.support.backend.doubles import Request
from tests.support.backend.files import encode
from tests.support.backend.front import PCM, STRIDE, Front, answered, levels, request, text_of
from tests.support.backend.markers import remuxed


async def test_a_short_clip_is_one_window_and_its_result_follows_the_contract(front: Front):
    asked = request(levels("HELLO WORLD"))
    await front.answer(asked)
    assert text_of(asked) == "HELLO WORLD"
    result = json.loads(asked.output("RESULT")[0, 0])
    assert result["text"] == "HELLO WORLD"
    assert [word["text"] for word in result["words"]] == ["HELLO", "WORLD"]
    assert result["words"][1]["start_s"] == pytest.approx(12 * STRIDE / 16_000)
    assert result["model"] == {"id": "test", "revision": "0"}
    assert set(result["timing_ms"]) == {"decode", "acoustic", "ctc", "total"}
    assert "chars" not in result
    assert len(front.reader.windows) == 1


async def test_no_answer_waits_for_the_metrics(front: Front, monkeypatch: pytest.MonkeyPatch):
    asked = request(levels("HELLO"))
    answered = []
    monkeypatch.setattr(
        Metrics, "observe", lambda *_, **__: answered.append(asked.response is not None)
    )
    await front.answer(asked)
    assert set(answered) == {True}


async def test_a_long_recording_is_windows_in_flight_together_and_loses_no_letter(front: Front):
    words = " ".join("".join(p) for p in itertools.product("ABCD", repeat=4))
    asked = request(levels(words))
    await front.answer(asked)
    assert text_of(asked) == words
    assert len(front.reader.windows) > 20
    assert max(front.reader.windows) <= 2 * 16_000
    assert front.reader.most_in_flight <= 2


async def test_a_long_file_is_opened_once(front: Front, monkeypatch: pytest.MonkeyPatch):
    opened = []
    open_file = containers._open

    def counted(memory: Any) -> Any:
        opened.append(memory)
        return open_file(memory)

    monkeypatch.setattr(containers, "_open", counted)
    samples = np.frombuffer(levels("ABCD " * 100), "<i2")
    asked = request(encode(samples, container="flac", codec="flac", rate_hz=16_000), {})
    await front.answer(asked)
    assert text_of(asked) == ("ABCD " * 100).strip()
    assert len(opened) == 1


def side_by_side(*texts: str) -> bytes:
    """Interleaved channels of levels; shorter texts are padded with spaces."""
    longest = max(map(len, texts))
    channels = [np.frombuffer(levels(text.ljust(longest)), "<i2") for text in texts]
    return np.stack(channels, axis=1).tobytes()


async def test_channels_apart_are_each_what_they_are_alone(front: Front):
    texts = ("HELLO WORLD", "A", "", "OF MAY " * 60)
    options = PCM | {"channels": len(texts), "channel": "separate", "timestamps": "char"}
    asked = request(side_by_side(*texts), options)
    await front.answer(asked)
    result = json.loads(asked.output("RESULT")[0, 0])
    expected = [text.strip() for text in texts]
    assert [one["text"] for one in result["channels"]] == expected
    assert result["text"] == text_of(asked) == "\n".join(expected)
    assert {word["channel"] for word in result["words"]} == {0, 1, 3}
    starts = [char["start_s"] for char in result["chars"]]
    assert starts == sorted(starts)
    assert front.reader.most_in_flight <= 2


async def test_one_channel_that_fails_is_the_recording_s_failure(front: Front):
    front.reader.error = UpstreamError("no", "UNAVAILABLE")
    options = PCM | {"channels": 3, "channel": "separate"}
    asked = request(side_by_side("A" * 200, "B", "C"), options)
    await front.answer(asked)
    assert asked.failure() == ("no", "UNAVAILABLE")
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert [task.get_name() for task in others] == ["callers"]


async def test_beam_search_runs_in_a_front_too_and_beside_its_loop(front: Front, monkeypatch):
    threads = set()
    search = BeamSearch.search

    def watched(*args: Any, **options: Any) -> Any:
        threads.add(threading.current_thread().name.partition("_")[0])
        return search(*args, **options)

    monkeypatch.setattr(BeamSearch, "search", watched)
    words = "HELLO WORLD " * 40
    asked = request(levels(words), PCM | {"decoder": "beam", "beam_width": 5})
    await front.answer(asked)
    assert text_of(asked) == words.strip()
    assert threads == {"search"}
    unwritable = request(levels("A"), PCM | {"decoder": "beam", "hotwords": ["\u00e9"]})
    await front.answer(unwritable)
    message, status = unwritable.failure()
    assert message.startswith("BAD_OPTIONS: hotwords has")
    assert status == "INVALID_ARG"


async def test_a_bad_request_fails_alone(front: Front):
    good = request(levels("FINE"))
    bad = {
        "EMPTY_AUDIO": request(b""),
        "BAD_OPTIONS": request(levels("X"), {"speed": 2}),
        "CORRUPT_AUDIO": request(b"\0\0\0"),
        "UNSUPPORTED_FORMAT": request(b"words" * 100, {}),
        "BAD_SHAPE": Request(
            AUDIO=np.array([[b"a"], [b"b"]], dtype=object),
            OPTIONS=np.array([[b"{}"], [b"{}"]], dtype=object),
        ),
    }
    await front.answer(*bad.values(), good)
    assert text_of(good) == "FINE"
    for code, asked in bad.items():
        message, status = asked.failure()
        assert message.startswith(f"{code}: ")
        assert status == "INVALID_ARG"
        assert front.pb_utils.metric("asr_errors_total", code=code).value == 1
        assert len(front.pb_utils.metric("asr_call_seconds", outcome=code).observed) == 1
    assert len(front.pb_utils.metric("asr_call_seconds", outcome="ok").observed) == 1


async def test_too_long_is_noticed_while_it_decodes():
    front = Front(max_audio_s=5)
    asked = request(levels("ABCD " * 100))
    await front.answer(asked)
    assert asked.failure()[0].startswith("AUDIO_TOO_LONG: ")


async def test_a_caller_that_has_gone_stops_the_work(front: Front):
    asked = request(levels("ABCD " * 200))
    front.reader.gate.clear()
    await front.model.execute([asked])
    asked.caller.cancelled = True
    front.reader.gate.set()
    await answered(asked)
    assert asked.failure()[1] == "CANCELLED"
    assert len(front.reader.windows) <= 4
    assert front.pb_utils.metric("asr_cancelled_total").value == 1
    assert len(front.pb_utils.metric("asr_call_seconds", outcome="CANCELLED").observed) == 1


async def test_an_answered_caller_is_not_asked_whether_it_has_gone(front: Front):
    """The double refuses the question. Here a window fails while others wait, which would ask."""
    front.reader.gate.clear()
    asked = request(levels("ABCD " * 200))
    await front.model.execute([asked])
    front.reader.error = RuntimeError("out of order")
    front.reader.gate.set()
    await answered(asked)
    assert asked.failure()[1] == "INTERNAL"
    front.reader.error = None
    # The waiting windows ended with it: none of them asks, and none is sent.
    before = len(front.reader.windows)
    other = request(levels("X"))
    await front.answer(other)
    assert text_of(other) == "X"
    assert len(front.reader.windows) == before + 1
    with pytest.raises(AssertionError, match="is_cancelled after the final response"):
        asked.get_response_sender().is_cancelled()


async def test_words_of_triton_s_are_passed_on(front: Front):
    front.reader.error = UpstreamError("Server not ready", "UNAVAILABLE")
    asked = request(levels("X"))
    await front.answer(asked)
    assert asked.failure() == ("Server not ready", "UNAVAILABLE")


async def test_a_defect_of_ours_is_an_id_for_the_caller_and_a_traceback_for_the_log(
    front: Front, capsys: pytest.CaptureFixture[str]
):
    front.reader.error = ZeroDivisionError("secret")
    asked = request(levels("X"))
    await front.answer(asked)
    message, status = asked.failure()
    assert message.startswith("INTERNAL_ERROR: id ")
    assert "secret" not in message
    assert status == "INTERNAL"
    logged = capsys.readouterr().err
    assert message.split()[2].rstrip(";") in logged
    assert "ZeroDivisionError: secret" in logged


async def test_less_than_a_frame_is_silence_without_a_forward(front: Front):
    asked = request(np.ones(10, "<i2").tobytes())
    await front.answer(asked)
    assert text_of(asked) == ""
    assert front.reader.windows == []


async def test_a_gap_moves_the_words_and_costs_no_window(front: Front):
    samples = np.frombuffer(levels("HELLO "), "<i2")
    flac = encode(samples, container="matroska", codec="flac", rate_hz=16_000)
    first, gap_s = 2, 400.0

    def later(index: int, packet: Any) -> int:
        return packet.pts + round(gap_s / packet.time_base) * (index >= first)

    asked = request(remuxed(flac, "matroska", later), {})
    await front.answer(asked)
    result = json.loads(asked.output("RESULT")[0, 0])
    assert result["duration_s"] == pytest.approx(gap_s + len(samples) / 16_000, abs=0.01)
    assert [one["code"] for one in result["warnings"]] == ["AUDIO_GAP"]
    assert result["words"][0]["start_s"] < 0.1
    assert result["words"][-1]["start_s"] > gap_s
    assert "".join(word["text"] for word in result["words"]) == "HELLO"
    assert len(front.reader.windows) == 2
    assert sum(front.reader.windows) < len(samples) + 2 * 1_600 + STRIDE


async def test_warnings_of_channels_apart_are_those_of_the_file_and_of_each_channel(front: Front):
    spoken = np.frombuffer(levels("HELLO"), "<i2")
    audio = np.stack([spoken, spoken * 0, spoken * 0], axis=1).tobytes()
    options = PCM | {"channels": 3, "channel": "separate"}
    asked = request(audio, options)
    await front.answer(asked)
    warnings = json.loads(asked.output("RESULT")[0, 0])["warnings"]
    assert warnings == [
        {"code": "VERY_QUIET", "message": "channel 1 is silent"},
        {"code": "VERY_QUIET", "message": "channel 2 is silent"},
    ]
