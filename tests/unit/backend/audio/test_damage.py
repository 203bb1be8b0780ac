"""Truncated, false and broken files give samples or a coded error."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.errors import AsrError, ErrorCode
from tests.support.backend.decoded import KINDS, SECONDS, refusal, sample_file, samples_of
from tests.support.backend.files import encode, s16, tone, wav


def test_empty() -> None:
    assert refusal(b"").detail == "AUDIO has 0 bytes"
    for empty in (
        wav(b""),
        encode(s16(tone(0, 16_000)), container="flac", codec="flac", rate_hz=16_000),
    ):
        assert refusal(empty).code is ErrorCode.EMPTY_AUDIO
    assert refusal(b"", encoding="pcm_s16le", sample_rate=8_000, channels=1).code is (
        ErrorCode.EMPTY_AUDIO
    )


@pytest.mark.parametrize("kept", [0.3, 0.5001, 0.77])
@pytest.mark.parametrize("stated", [None, 0xFFFFFFFF, 0x7FFFFFFF, 0])
def test_a_wav_that_breaks_off_gives_what_is_there(kept: float, stated: int | None) -> None:
    stored = s16(tone(2, 44_100))
    stereo = np.repeat(stored[:, None], 2, 1)
    whole = wav(stereo.tobytes(), rate_hz=44_100, channels=2, stated_bytes=stated)
    cut = whole[: 44 + int(kept * (len(whole) - 44)) + 1]
    samples = samples_of(cut)
    frames = (len(cut) - 44) // 4
    assert len(samples) == -(-frames * 16_000 // 44_100)


def test_a_header_that_claims_4_gb_is_taken_for_what_is_there() -> None:
    data = s16(tone(1, 16_000)).tobytes()
    assert len(samples_of(wav(data, stated_bytes=0xFFFFFFFF))) == 16_000


def test_compressed_files_that_break_off_give_what_is_there() -> None:
    for kind in (
        ("flac", "flac", 44_100, "stereo"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("webm", "libopus", 48_000, "mono"),
        ("amr", "libopencore_amrnb", 8_000, "mono"),
    ):
        data = sample_file(*kind)
        seconds = len(samples_of(data[: int(len(data) * 0.77)])) / 16_000
        assert 0.8 < seconds < SECONDS - 0.1


@pytest.mark.parametrize(
    "kind",
    [
        ("flac", "flac", 44_100, "stereo"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("ipod", "aac", 44_100, "mono"),
    ],
)
def test_damage_in_the_middle_is_refused_with_its_time(kind: tuple[str, str, int, str]) -> None:
    data = bytearray(sample_file(*kind))
    middle = len(data) // 2
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    error = refusal(bytes(data))
    assert error.code is ErrorCode.CORRUPT_AUDIO
    seconds = float(error.detail.split()[-2])
    assert 0.1 < seconds < 1.1


def test_broken_headers() -> None:
    data = s16(tone(1, 16_000)).tobytes()
    assert refusal(wav(data)[:30]).code is ErrorCode.CORRUPT_AUDIO
    assert refusal(wav(data, channels=0)).code is ErrorCode.CORRUPT_AUDIO
    assert refusal(wav(data, rate_hz=0)).code is ErrorCode.CORRUPT_AUDIO
    error = refusal(wav(data, rate_hz=10**9))
    assert str(error) == "BAD_SAMPLE_RATE: 1000000000 Hz, allowed are 1000 to 384000 Hz"
    assert refusal(wav(data, rate_hz=999)).code is ErrorCode.BAD_SAMPLE_RATE
    assert refusal(wav(data, channels=200)).code is ErrorCode.UNSUPPORTED_FORMAT
    movie = sample_file("ipod", "aac", 44_100, "mono")
    assert refusal(movie[: len(movie) // 2]).code is ErrorCode.CORRUPT_AUDIO


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_numbers_that_are_none(bad: float, rate_hz: int) -> None:
    stored = tone(3, rate_hz)
    stored[2 * rate_hz] = bad
    error = refusal(wav(stored.astype("<f8").tobytes(), rate_hz=rate_hz, bits=64, is_float=True))
    assert error.code is ErrorCode.NON_FINITE_SAMPLES
    assert error.detail in {"NaN or infinity at 2.00 s", "NaN or infinity at 1.99 s"}
    with np.errstate(over="ignore"):
        raw = stored.astype("<f4").tobytes()
    pcm = {"encoding": "pcm_f32le", "sample_rate": rate_hz, "channels": 1}
    assert refusal(raw, **pcm).code is ErrorCode.NON_FINITE_SAMPLES


def test_big_endian_wav_is_refused() -> None:
    data = s16(tone(1, 16_000)).byteswap().tobytes()
    header = struct.pack(
        ">4sI8sIHHIIHH4sI",
        b"RIFX",
        36 + len(data),
        b"WAVEfmt ",
        16,
        1,
        1,
        16_000,
        32_000,
        2,
        16,
        b"data",
        len(data),
    )
    error = refusal(header + data)
    assert str(error) == "UNSUPPORTED_FORMAT: big-endian WAV (RIFX) is not supported"


def test_pcm_must_be_whole_frames() -> None:
    error = refusal(bytes(10), encoding="pcm_s16le", sample_rate=8_000, channels=2)
    assert str(error) == (
        "CORRUPT_AUDIO: 10 bytes are no whole number of frames of 4 bytes (pcm_s16le, channels 2)"
    )


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(KINDS))
    data = bytearray(sample_file(*kind[:4]))
    for _ in range(draw(st.integers(0, 4))):
        # Most of what can go wrong is in the header.
        at = draw(st.integers(0, 200) | st.integers(0, len(data) - 1))
        part = draw(st.binary(min_size=1, max_size=16))
        data[at : at + len(part)] = part
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


@settings(max_examples=120, deadline=None)
@given(damaged_files())
def test_damaged_files_give_samples_or_our_error(data: bytes) -> None:
    try:
        samples = samples_of(data)
    except AsrError:
        return
    assert np.isfinite(samples).all()
