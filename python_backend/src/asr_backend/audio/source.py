"""One AUDIO element to blocks of samples, within limits that hold while it decodes."""

from __future__ import annotations

import mmap
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np

from asr_backend.audio.containers import (
    container_pieces,
    stated_channels,
    stated_duration_s,
)
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.mixing import FloatArray
from asr_backend.audio.pcm import pcm_duration_s, pcm_pieces
from asr_backend.audio.resampling import Resampler
from asr_backend.audio.wav import as_pcm
from asr_backend.checkpoint.description import SAMPLE_RATE_HZ
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.contract import Options


def decode(
    data: bytes | memoryview | mmap.mmap, *, options: Options, limits: AudioLimits
) -> Generator[FloatArray, None, None]:
    """Decode, mix and resample one file or one run of raw PCM.

    The generator does its work between two blocks, holds a few seconds of audio at a time
    whatever the file expands to, and frees everything when it is closed early. Run it in a
    thread; libav releases the interpreter lock.

    Mixing takes the mean of all channels, as libav's own downmix weighs channels and drops
    some. Audio at 16 kHz passes unchanged: 16-bit samples come out as `sample / 32768`.

    A file that breaks off is decoded as far as it goes, whatever its header promises; audio that
    stops decoding and goes on later is refused, with the second where it stopped. Raw AAC keeps
    the encoder's delay, which only a container states.

    Args:
        data: the AUDIO element; not copied.
        options: encoding, and for PCM its rate and channels; which channel to take.
        limits: more than these is refused; a container's length as soon as it is known.

    Yields:
        float32 [samples], mono, 16 kHz, full scale 1, about one second each. All of them
        together have ceil(n * 16000 / rate) samples for n at the submitted rate.

    Raises:
        AsrError: EMPTY_AUDIO, AUDIO_TOO_LARGE, AUDIO_TOO_LONG, UNSUPPORTED_FORMAT,
            CORRUPT_AUDIO, BAD_SAMPLE_RATE, NON_FINITE_SAMPLES, or BAD_OPTIONS for a channel
            that the audio has not.
    """
    view, options = _plain(_checked(data, limits), options)
    pieces = container_pieces if options.encoding == "container" else pcm_pieces
    with closing(pieces(view, options=options, limits=limits)) as source:
        yield from _resampled(source, limits)


def count_channels(
    data: bytes | memoryview | mmap.mmap, *, options: Options, limits: AudioLimits
) -> int:
    """Channels of the audio, without decoding it.

    Raises:
        AsrError: as decode.
    """
    view, options = _plain(_checked(data, limits), options)
    return options.channels or stated_channels(view)


def estimate_duration_s(
    data: bytes | memoryview | mmap.mmap, *, options: Options, limits: AudioLimits
) -> float:
    """Seconds of audio, without decoding it; at most the limit.

    Exact for raw PCM. A file's own statement is believed, and one that states nothing is taken
    for as long as allowed.

    Raises:
        AsrError: as decode.
    """
    view, options = _plain(memoryview(data).cast("B"), options)
    if options.encoding == "container":
        seconds = stated_duration_s(view)
    else:
        seconds = pcm_duration_s(view, options)
    return min(limits.max_audio_s, limits.max_audio_s if seconds is None else seconds)


def _plain(view: memoryview, options: Options) -> tuple[memoryview, Options]:
    """The samples of a plain WAV file and what its header states; anything else as it is."""
    if options.encoding == "container":
        return as_pcm(view, options) or (view, options)
    return view, options


def _checked(data: bytes | memoryview | mmap.mmap, limits: AudioLimits) -> memoryview:
    view = memoryview(data).cast("B")
    if not view.nbytes:
        raise AsrError(ErrorCode.EMPTY_AUDIO, "AUDIO has 0 bytes")
    if view.nbytes > limits.max_audio_bytes:
        raise AsrError(
            ErrorCode.AUDIO_TOO_LARGE,
            f"{view.nbytes} bytes, the limit is {limits.max_audio_bytes} bytes",
        )
    return view


def _resampled(
    pieces: Iterator[tuple[int, FloatArray]], limits: AudioLimits
) -> Iterator[FloatArray]:
    """Bring pieces of any rates to 16 kHz, and hold the limit of seconds."""
    resampler: Resampler | None = None
    seconds = 0.0
    sample_count = 0
    for rate_hz, mono in pieces:
        seconds += len(mono) / rate_hz
        if seconds > limits.max_audio_s + 1e-6:
            raise limits.too_long(f"more than {limits.max_audio_s:g}")
        blocks = []
        if resampler is None or resampler.rate_hz != rate_hz:
            if resampler is not None:
                blocks.append(resampler.finish())
            resampler = Resampler(rate_hz)
        blocks.append(resampler.push(mono))
        for block in blocks:
            if len(block):
                yield _finite(block, sample_count)
                sample_count += len(block)
    last = resampler.finish() if resampler is not None else np.zeros(0, np.float32)
    if len(last):
        yield _finite(last, sample_count)
        sample_count += len(last)
    if not sample_count:
        raise AsrError(ErrorCode.EMPTY_AUDIO, "the audio decodes to 0 samples")


def _finite(block: FloatArray, position: int) -> FloatArray:
    if not np.isfinite(block).all():
        first = (position + int(np.argmin(np.isfinite(block)))) / SAMPLE_RATE_HZ
        raise AsrError(ErrorCode.NON_FINITE_SAMPLES, f"NaN or infinity at {first:.2f} s")
    return block
