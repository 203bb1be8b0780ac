"""Checks the audio of a look, and measures its levels."""

from __future__ import annotations

import numpy as np

from asr_backend.audio.format import Channel, PcmFormat
from asr_backend.audio.mixing import to_mono
from asr_backend.errors import AsrError, ErrorCode, rounded_up
from asr_backend.front.stream_options import MAX_LOOK_S
from asr_backend.segmentation.levels import Levels, first_sample, frame_from, frame_levels
from asr_backend.segmentation.pauses import FRAMES_A_SECOND


def check_audio(audio: bytes, format: PcmFormat, *, may_be_empty: bool) -> None:
    """Check the audio of a look before anything is made of it.

    Raises:
        AsrError: EMPTY_AUDIO, CORRUPT_AUDIO or AUDIO_TOO_LONG.
    """
    if not audio and not may_be_empty:
        raise AsrError(ErrorCode.EMPTY_AUDIO, "AUDIO has 0 bytes, which only a look with `end` may")
    if len(audio) % format.frame_bytes:
        raise AsrError(
            ErrorCode.CORRUPT_AUDIO,
            f"{len(audio)} bytes are no whole number of frames of {format.frame_bytes} bytes "
            f"({format.encoding}, channels {format.channels})",
        )
    seconds = len(audio) / format.frame_bytes / format.sample_rate_hz
    if seconds > MAX_LOOK_S:
        raise AsrError(
            ErrorCode.AUDIO_TOO_LONG,
            f"{rounded_up(seconds)} s in one look, the limit is {MAX_LOOK_S:g} s",
        )


def stream_levels(
    audio: memoryview, format: PcmFormat, channel: Channel, *, position: int
) -> Levels:
    """The levels of a look's audio, mixed, at the source's own rate.

    Args:
        audio: raw PCM, whole frames.
        format: its format.
        channel: the channel to take, or their mean.
        position: of the first frame of PCM, from the start of the stream.

    Raises:
        AsrError: NON_FINITE_SAMPLES; BAD_OPTIONS for a channel that the audio does not have.
    """
    rate_hz = format.sample_rate_hz
    samples = np.frombuffer(audio, format.dtype).reshape(-1, format.channels)
    end = position + len(samples)
    found = []
    # A second at a time: the frames of the source may be many, and wide.
    while position < end:
        frame = frame_from(position + 1, rate_hz)
        upto = min(end, first_sample(frame + FRAMES_A_SECOND, rate_hz))
        piece, samples = np.split(samples, [upto - position])
        mono = to_mono(piece, channel)
        if not np.isfinite(mono).all():
            bad_s = (position + int(np.argmin(np.isfinite(mono)))) / rate_hz
            raise AsrError(ErrorCode.NON_FINITE_SAMPLES, f"NaN or infinity at {bad_s:.2f} s")
        found.append(frame_levels(mono, position=position, rate_hz=rate_hz))
        position = upto
    return np.concatenate(found) if found else np.zeros(0, np.uint8)
