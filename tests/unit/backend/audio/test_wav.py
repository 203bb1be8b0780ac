from __future__ import annotations

import struct
from contextlib import closing
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.audio.clock import Gap
from asr_backend.audio.format import Channel, PcmFormat
from asr_backend.audio.media import MediaFile
from asr_backend.audio.wav import as_pcm
from asr_backend.errors import ErrorCode
from tests.support.backend.decoded import LIMITS, refusal, samples_of
from tests.support.backend.files import encode, s16, tone, wav

PCM = s16(tone(0.5, 16_000)).tobytes()


def with_chunk(name: bytes, data: bytes, file: bytes) -> bytes:
    """The file with one more chunk before the samples."""
    chunk = struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2)
    return file[:36] + chunk + file[36:]


def by_libav(file: bytes, channel: Channel) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    with closing(MediaFile(memoryview(file))) as opened:
        pieces = list(opened.pieces(channel, LIMITS))
    return np.concatenate([piece[1] for piece in pieces if not isinstance(piece, Gap)])


@given(
    samples=st.binary(min_size=2, max_size=5000).map(lambda data: data[: len(data) // 2 * 2]),
    extra=st.binary(max_size=9),
    channel=st.sampled_from(["mix", 0]),
)
def test_a_plain_file_sounds_as_libav_reads_it(
    samples: bytes, extra: bytes, channel: Literal["mix"] | int
) -> None:
    file = with_chunk(b"junk", extra, wav(samples)) + b"junk\x04\0\0\0abcd"
    assert as_pcm(memoryview(file)) is not None
    assert np.array_equal(samples_of(file, channel=channel), by_libav(file, channel))


def test_what_other_programs_write_is_plain() -> None:
    file = encode(
        s16(tone(0.5, 8_000)), container="wav", codec="pcm_s16le", rate_hz=8_000, layout="mono"
    )
    found = as_pcm(memoryview(file))
    assert found is not None
    assert found[1] == PcmFormat(encoding="pcm_s16le", sample_rate_hz=8_000, channels=1)


@pytest.mark.parametrize(
    "file",
    {
        "nothing": b"",
        "another kind": b"fLaC" + bytes(200),
        "two channels": wav(PCM, channels=2),
        "8 bits": wav(PCM, bits=8),
        "float": wav(PCM, bits=32, is_float=True),
        "a rate out of range": wav(PCM, rate_hz=999),
        "broken off": wav(PCM)[:-2],
        "half a sample": wav(PCM[:-1]),
        "no samples": wav(b""),
        "a stream without a length": wav(PCM, stated_bytes=0xFFFFFFFF),
        "no samples' chunk": wav(PCM)[:36],
        "half a chunk's header": wav(PCM)[:40],
        "a chunk without an end": with_chunk(b"LIST", b"", wav(PCM))[:40] + b"\xff" * 4,
        "a longer header": wav(PCM)[:16] + b"\x12\0\0\0" + wav(PCM)[20:36] + b"\0\0" + PCM,
    }.values(),
)
def test_all_else_is_left_to_libav(file: bytes) -> None:
    assert as_pcm(memoryview(file)) is None


def test_a_channel_that_is_not_there_is_refused_alike() -> None:
    plain, other = (refusal(wav(PCM, bits=bits), channel=1) for bits in (16, 8))
    assert plain.code is other.code is ErrorCode.BAD_OPTIONS
    assert plain.detail == other.detail
