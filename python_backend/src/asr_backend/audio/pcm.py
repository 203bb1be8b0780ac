"""Raw PCM, whose rate and channels the OPTIONS state."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.mixing import FloatArray, to_mono
from asr_backend.errors import AsrError, ErrorCode, rounded_up
from asr_backend.front.contract import Options

_DTYPES = {"pcm_s16le": "<i2", "pcm_f32le": "<f4"}


def pcm_pieces(
    view: memoryview, *, options: Options, limits: AudioLimits
) -> Generator[tuple[int, FloatArray], None, None]:
    """Yield (sample rate in Hz, at most a second of float32 [frames] mono).

    Raises:
        AsrError: CORRUPT_AUDIO for a part of a frame, AUDIO_TOO_LONG, BAD_OPTIONS.
    """
    assert options.sample_rate is not None
    assert options.channels is not None
    dtype = np.dtype(_DTYPES[options.encoding])
    frame_bytes = dtype.itemsize * options.channels
    if view.nbytes % frame_bytes:
        raise AsrError(
            ErrorCode.CORRUPT_AUDIO,
            f"{view.nbytes} bytes are no whole number of frames of {frame_bytes} bytes "
            f"({options.encoding}, channels {options.channels})",
        )
    seconds = pcm_duration_s(view, options)
    if seconds > limits.max_audio_s:
        raise limits.too_long(rounded_up(seconds))
    limits.check_samples(view.nbytes // dtype.itemsize)
    samples = np.frombuffer(view, dtype).reshape(-1, options.channels)
    rate_hz = options.sample_rate
    for start in range(0, len(samples), rate_hz):
        yield rate_hz, to_mono(samples[start : start + rate_hz], options.channel)


def pcm_duration_s(view: memoryview, options: Options) -> float:
    """Seconds of raw PCM."""
    assert options.sample_rate is not None
    assert options.channels is not None
    itemsize = np.dtype(_DTYPES[options.encoding]).itemsize
    return view.nbytes / (itemsize * options.channels) / options.sample_rate
