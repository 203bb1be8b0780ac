"""Decodes submitted bytes into one array, or returns the refusal."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from asr_backend.audio.format import Channel, Encoding, PcmFormat
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import Silence, Source
from asr_backend.audio.warning import AudioWarning
from asr_backend.errors import AsrError
from tests.support.backend.files import encode, s16, tone

LIMITS = AudioLimits(max_audio_s=60, max_audio_bytes=2**24)
SECONDS = 1.5


# container, codec, rate, layout, seconds that an encoder may add or drop at the end
KINDS = [
    ("wav", "pcm_u8", 8_000, "mono", 0),
    ("wav", "pcm_s16le", 16_000, "mono", 0),
    ("wav", "pcm_s24le", 44_100, "stereo", 0),
    ("wav", "pcm_s32le", 22_050, "mono", 0),
    ("wav", "pcm_f32le", 192_000, "mono", 0),
    ("wav", "pcm_f64le", 48_000, "5.1", 0),
    ("wav", "pcm_mulaw", 8_000, "mono", 0),
    ("wav", "adpcm_ms", 16_000, "mono", 0.1),
    ("w64", "pcm_s16le", 16_000, "mono", 0),
    ("aiff", "pcm_s16be", 44_100, "stereo", 0),
    ("au", "pcm_s16be", 16_000, "mono", 0),
    ("caf", "pcm_s16le", 16_000, "mono", 0),
    ("flac", "flac", 44_100, "stereo", 0),
    ("mp3", "libmp3lame", 44_100, "stereo", 0),
    ("ogg", "vorbis", 44_100, "stereo", 0.1),
    ("ogg", "libopus", 48_000, "mono", 0),
    ("ogg", "flac", 16_000, "mono", 0),
    ("ipod", "aac", 44_100, "mono", 0.05),
    ("mp4", "alac", 44_100, "stereo", 0),
    ("mov", "pcm_s16le", 16_000, "mono", 0),
    ("webm", "libopus", 48_000, "mono", 0),
    ("matroska", "flac", 16_000, "mono", 0),
    ("adts", "aac", 16_000, "mono", 0.2),
    ("amr", "libopencore_amrnb", 8_000, "mono", 0.05),
    ("asf", "wmav2", 44_100, "mono", 0.1),
]


@cache
def sample_file(container: str, codec: str, rate_hz: int, layout: str) -> bytes:
    samples = s16(tone(SECONDS, rate_hz))
    return encode(samples, container=container, codec=codec, rate_hz=rate_hz, layout=layout)


def source(
    data: bytes | memoryview,
    *,
    limits: AudioLimits = LIMITS,
    encoding: Encoding | None = None,
    sample_rate: int = 16_000,
    channels: int = 1,
) -> Source:
    """A file, or raw PCM if an encoding is given."""
    pcm = encoding and PcmFormat(encoding=encoding, sample_rate_hz=sample_rate, channels=channels)
    return Source(data, pcm=pcm, max_bytes=limits.max_audio_bytes)


def samples_of(
    data: bytes | memoryview,
    *,
    limits: AudioLimits = LIMITS,
    channel: Channel = "mix",
    **pcm: Any,
) -> npt.NDArray[np.float32]:
    return decoded(data, limits=limits, channel=channel, **pcm)[0]


def warnings_of(data: bytes | memoryview, **values: Any) -> list[str]:
    """The codes of the warnings."""
    return [warning.code.value for warning in decoded(data, **values)[1]]


def decoded(
    data: bytes | memoryview,
    *,
    limits: AudioLimits = LIMITS,
    channel: Channel = "mix",
    **pcm: Any,
) -> tuple[npt.NDArray[np.float32], tuple[AudioWarning, ...]]:
    """All samples, silence included, and the warnings."""
    opened = source(data, limits=limits, **pcm)
    blocks = []
    for block in opened.blocks(channel, limits):
        if isinstance(block, Silence):
            blocks.append(np.zeros(block.samples, np.float32))
            continue
        assert block.dtype == np.float32
        assert block.ndim == 1
        assert 0 < len(block) <= 3 * 16_000
        blocks.append(block)
    return np.concatenate(blocks), opened.warnings


def refusal(data: bytes, *, limits: AudioLimits = LIMITS, **values: Any) -> AsrError:
    with pytest.raises(AsrError) as caught:
        samples_of(data, limits=limits, **values)
    return caught.value
