"""Limits of length, size and memory, and properties that are known before decoding."""

from __future__ import annotations

import gc
from contextlib import closing
from typing import Any

import numpy as np
import psutil
import pytest

from asr_backend.audio import containers
from asr_backend.audio.limits import AudioLimits
from asr_backend.errors import AsrError, ErrorCode
from tests.support.backend.decoded import (
    KINDS,
    LIMITS,
    SECONDS,
    refusal,
    sample_file,
    samples_of,
    source,
)
from tests.support.backend.files import encode, s16, tone, wav


def test_limits_of_bytes_and_seconds() -> None:
    data = wav(s16(tone(3, 16_000)).tobytes())
    error = refusal(data, limits=AudioLimits(max_audio_s=60, max_audio_bytes=len(data) - 1))
    assert error.code is ErrorCode.AUDIO_TOO_LARGE
    assert error.detail == f"{len(data)} bytes, the limit is {len(data) - 1} bytes"
    exact = AudioLimits(max_audio_s=3, max_audio_bytes=len(data))
    assert len(samples_of(data, limits=exact)) == 48_000
    error = refusal(data, limits=AudioLimits(max_audio_s=1.5, max_audio_bytes=len(data)))
    assert str(error) == "AUDIO_TOO_LONG: 3.0 s, the limit is 1.5 s"
    stereo = wav(np.repeat(s16(tone(3, 16_000)), 2).tobytes(), channels=2)
    error = refusal(stereo, limits=AudioLimits(max_audio_s=2.9999, max_audio_bytes=len(stereo)))
    assert error.detail == "more than 2.9999 s, the limit is 2.9999 s"
    pcm = {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 1}
    error = refusal(data[44:], limits=AudioLimits(max_audio_s=5, max_audio_bytes=10**6), **pcm)
    assert error.detail == "6.0 s, the limit is 5 s"


def test_a_length_that_only_decoding_shows_is_still_held() -> None:
    data = sample_file("adts", "aac", 16_000, "mono")
    error = refusal(data, limits=AudioLimits(max_audio_s=0.5, max_audio_bytes=10**6))
    assert error.detail == "more than 0.5 s, the limit is 0.5 s"


def test_samples_of_all_channels_are_counted_where_the_length_is_stated_and_where_it_is_not() -> (
    None
):
    def limits(samples: int) -> AudioLimits:
        return AudioLimits(max_audio_s=60, max_audio_bytes=2**24, max_audio_samples=samples)

    stereo = encode(
        s16(tone(3, 44_100)), container="flac", codec="flac", rate_hz=44_100, layout="stereo"
    )
    assert len(samples_of(stereo, limits=limits(2 * 3 * 44_100))) == 48_000
    detail = (
        "{} samples of all channels together, the limit is {} (rate times channels times seconds)"
    )
    # The file states the length, and a second of tolerance is subtracted.
    error = refusal(stereo, limits=limits(100_000))
    assert error.code is ErrorCode.AUDIO_TOO_LONG
    assert error.detail == detail.format(2 * 2 * 44_100, 100_000)
    # Within that second, only decoding shows it.
    error = refusal(stereo, limits=limits(2 * 3 * 44_100 - 1))
    assert error.code is ErrorCode.AUDIO_TOO_LONG
    assert error.detail == detail.format(2 * 3 * 44_100, 2 * 3 * 44_100 - 1)
    unstated = sample_file("adts", "aac", 16_000, "mono")
    assert refusal(unstated, limits=limits(8_000)).code is ErrorCode.AUDIO_TOO_LONG
    pcm = {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 4}
    assert len(samples_of(bytes(64_000), limits=limits(32_000), **pcm)) == 16_000
    error = refusal(bytes(64_000), limits=limits(31_999), **pcm)
    assert error.detail == detail.format(32_000, 31_999)


def test_what_sets_the_limit_of_a_call_is_named() -> None:
    limits = AudioLimits(max_audio_s=1, max_audio_bytes=2**24, reason=" for a reason")
    assert (
        refusal(wav(bytes(64_000)), limits=limits).detail == "2.0 s, the limit is 1 s for a reason"
    )


def test_ten_minutes_in_a_small_file_streams_in_flat_memory() -> None:
    long = encode(np.zeros(16_000 * 600, np.int16), container="flac", codec="flac", rate_hz=16_000)
    assert len(long) < 150_000
    limits = AudioLimits(max_audio_s=600, max_audio_bytes=10**6)
    blocks = source(long, limits=limits).blocks("mix", limits)
    count = len(next(blocks))
    memory = psutil.Process().memory_info
    before = memory().rss
    peak = 0
    for index, block in enumerate(blocks):
        count += len(block)
        if index % 50 == 0:
            peak = max(peak, memory().rss - before)
    assert count == 16_000 * 600
    # All samples together would be 38 MB.
    assert peak < 12 * 2**20


def test_closing_early_lets_go_of_the_submitted_bytes() -> None:
    data = bytearray(sample_file("mp3", "libmp3lame", 44_100, "stereo") * 3)
    blocks: Any = source(memoryview(data)).blocks("mix", LIMITS)
    next(blocks)
    with pytest.raises(BufferError):
        data.append(0)
    gc.disable()
    try:
        blocks.close()
        data.append(0)
    finally:
        gc.enable()


def test_a_file_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    open_file = containers._open

    def counted(memory: Any) -> Any:
        opened.append(memory)
        return open_file(memory)

    monkeypatch.setattr(containers, "_open", counted)
    file = source(sample_file("flac", "flac", 44_100, "stereo"))
    assert not opened
    assert (file.channels, file.duration_s) == (2, SECONDS)
    assert sum(map(len, file.blocks("mix", LIMITS))) == SECONDS * 16_000
    file.close()
    assert (file.channels, file.duration_s) == (2, SECONDS)
    assert len(opened) == 1


def test_a_length_is_estimated_without_decoding() -> None:
    def estimate(data: bytes, **values: Any) -> float:
        with closing(source(data, **values)) as opened:
            seconds = opened.duration_s
            assert seconds is not None
            return seconds

    for kind in KINDS:
        # For raw aac or amr, libav has only the bit rate.
        tolerance = 0.5 if kind[0] in {"adts", "amr"} else 0.1
        assert abs(estimate(sample_file(*kind[:4])) - SECONDS) < tolerance
    pcm = {"encoding": "pcm_f32le", "sample_rate": 8_000, "channels": 2}
    assert estimate(bytes(64_000 * 3), **pcm) == 3
    with pytest.raises(AsrError, match="UNSUPPORTED_FORMAT"):
        estimate(b"text")


def test_channels_are_counted_without_decoding() -> None:
    def count(data: bytes, **values: Any) -> int:
        with closing(source(data, **values)) as opened:
            return opened.channels

    for kind in KINDS:
        expected = {"mono": 1, "stereo": 2, "5.1": 6}[kind[3]]
        assert count(sample_file(*kind[:4])) == expected, kind
    assert count(bytes(80), encoding="pcm_s16le", sample_rate=8_000, channels=5) == 5
    for data, code in ((b"", "EMPTY_AUDIO"), (b"text", "UNSUPPORTED_FORMAT")):
        with pytest.raises(AsrError, match=code):
            count(data)
