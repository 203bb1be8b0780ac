"""Live recognition on a real server: finals are what `transcribe` answers, however one looks.

`ASR_STREAM_CASES=1000` runs so many streams of random cuts and lost answers instead of 40.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tests.contract.schemas import STREAM_RESULT, closed
from tests.support import recordings
from tests.support.live import LiveStream, call, connect, cuts, encoded, talk
from tests.support.server import metrics_page
from tools.local_server import LocalServer

pytestmark = pytest.mark.server

CASES = int(os.environ.get("ASR_STREAM_CASES", "40"))
KINDS = [
    (rate_hz, encoding, channels, channel)
    for rate_hz in (8_000, 16_000, 44_100, 48_000)
    for encoding in ("pcm_s16le", "pcm_f32le")
    for channels, channel in ((1, "mix"), (2, "mix"), (2, 1))
]


@pytest.fixture(scope="module")
def channel(server_url: str) -> Iterator[grpc.Channel]:
    with connect(server_url) as opened:
        yield opened


def live_audio(case: int) -> tuple[bytes, int, dict[str, Any]]:
    """A stream's bytes, the size of a frame, and OPTIONS of both models."""
    rate_hz, encoding, channels, channel = KINDS[case % len(KINDS)]
    samples = talk(case, rate_hz=rate_hz)
    if channels == 2:
        other = talk(case + 10**6, rate_hz=rate_hz, count=1)
        silent = np.zeros(max(0, len(samples) - len(other)), np.float32)
        other = np.concatenate([other, silent])[: len(samples)]
        samples = np.stack([other, samples], axis=1)
    options: dict[str, Any] = {
        **{"encoding": encoding, "sample_rate": rate_hz},
        **{"channels": channels, "channel": channel},
    }
    if case % 3 == 0:
        options["decoder"] = "beam"
    return encoded(samples, encoding), channels * (2 if encoding == "pcm_s16le" else 4), options


@pytest.mark.timeout(max(300, 5 * CASES))
@pytest.mark.parametrize("cases", [range(start, CASES, 8) for start in range(min(8, CASES))])
def test_finals_are_those_of_transcribe_however_one_looks(channel: grpc.Channel, cases: range):
    for case in cases:
        audio, frame_bytes, options = live_audio(case)
        rng = random.Random(case)
        rules = {
            "endpoint_silence_s": rng.choice([0.2, 0.4, 0.5]),
            "max_segment_s": rng.choice([2, 3, 15]),
        }
        whole = LiveStream(channel, {**options, **rules}).run([audio])
        assert whole
        pieces = cuts(audio, frame_bytes, rng.randint(2, 9), rng)
        assert LiveStream(channel, {**options, **rules}).run(pieces, rng) == whole, case
        assert [segment["index"] for segment in whole] == list(range(len(whole)))
        for segment in whole:
            first = segment["first_frame"] * frame_bytes
            last = first + segment["frames"] * frame_bytes
            alone = call(channel, audio[first:last], options, model="transcribe")
            for key in ("text", "confidence"):
                assert segment[key] == alone[key], case
            for word, single in zip(segment["words"], alone["words"], strict=True):
                assert word["text"] == single["text"]
                assert word["confidence"] == single["confidence"]
                for key in ("start_s", "end_s"):
                    here = segment["start_s"] + single[key]
                    assert word[key] == pytest.approx(here, abs=0.0021)


def test_a_stream_in_real_time_steps(channel: grpc.Channel):
    """Looks of 0.4 s, as the SDK will make them: interims that grow, finals at the pauses."""
    audio = encoded(talk(5, count=3), "pcm_s16le")
    options = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1, "decoder": "beam"}
    stream = LiveStream(channel, options)
    step = 2 * 6_400
    finals = stream.run([audio[start : start + step] for start in range(0, len(audio), step)])
    assert len(finals) >= 2
    assert {segment["reason"] for segment in finals} <= {"pause", "end"}
    assert len(stream.interims) > len(finals)
    assert any(interim["stable_text"] for interim in stream.interims)
    for interim in stream.interims:
        words = [word["text"] for word in interim["words"]]
        assert interim["text"] == " ".join(words)
        stable = [word["text"] for word in interim["words"] if word["stable"]]
        assert interim["stable_text"] == " ".join(stable)
        assert words[: len(stable)] == stable


@pytest.mark.parametrize("timestamps", ["none", "word", "char"])
@pytest.mark.parametrize("end", [False, True])
def test_the_result_is_that_of_the_schema(channel: grpc.Channel, timestamps: str, end: bool):
    audio = encoded(talk(7), "pcm_s16le")[: 2 * 60_000]
    options = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
    result = call(channel, audio, {**options, "timestamps": timestamps, "end": end})
    assert not [error.message for error in closed(STREAM_RESULT).iter_errors(result)]
    assert ("interim" in result) == (not end and result["speech"])
    for segment in result["segments"]:
        assert ("words" in segment) == (timestamps != "none")
        assert ("chars" in segment) == (timestamps == "char")


@pytest.mark.parametrize(
    ("audio", "options", "code"),
    [
        (b"", {}, "EMPTY_AUDIO"),
        (bytes(3), {}, "CORRUPT_AUDIO"),
        (bytes(2 * (60 * 16_000 + 1)), {}, "AUDIO_TOO_LONG"),
        (bytes(640), {"max_segment_s": 20.5}, "BAD_OPTIONS"),
        (bytes(640), {"state": "nonsense"}, "BAD_OPTIONS"),
        (bytes(640), {"state": "1:0:0:AAAA"}, "BAD_OPTIONS"),
        (bytes(640), {"encoding": "container"}, "BAD_OPTIONS"),
    ],
)
def test_a_wrong_look_has_the_contract_s_code(
    channel: grpc.Channel, audio: bytes, options: dict[str, Any], code: str
):
    pcm = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, audio, {**pcm, **options})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(f"{code}: ")


def test_looks_are_counted(server: LocalServer, channel: grpc.Channel):
    def values() -> list[float]:
        page = server.metrics()
        return [
            metrics_page.value(page, "asr_stream_audio_seconds_total"),
            metrics_page.value(page, "asr_stream_computed_seconds_total"),
        ]

    audio = encoded(
        recordings.samples("cards-003-seven-of-clubs.wav"),
        "pcm_s16le",
    )
    before = values()
    options = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
    finals = LiveStream(channel, options).run([audio], random.Random(1))
    page = server.metrics()
    seconds, computed = (after - then for after, then in zip(values(), before, strict=True))
    assert seconds == pytest.approx(len(audio) / 32_000)
    assert computed >= sum(segment["frames"] for segment in finals) / 16_000 - 1e-6
    assert 'asr_stream_look_seconds_count{kind="final"' in page
    assert "asr_stream_segments_total" in page
