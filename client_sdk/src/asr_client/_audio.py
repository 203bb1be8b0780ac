"""The caller's audio (a path, bytes, a file, an array) as the bytes of a request."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from asr_client._types import Audio, Encoding, ReadableFile, Samples

MAX_AUDIO_BYTES = 2**31 - 2**20
"""A protobuf message holds 2 GiB at most; the rest of the request fits into 1 MiB."""

MAX_ARRAY_CHANNELS = 64
"""The server's limit; an array with more columns is probably transposed."""

SMALL_BYTES = 1 << 20
"""Samples in memory up to this size are prepared fast enough for an event loop."""


class TooLarge(Exception):
    """The audio has more bytes than may be sent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """Audio of a request; rate and channels are set exactly when the encoding is PCM."""

    data: bytes | bytearray | memoryview
    encoding: Encoding
    sample_rate: int | None = None
    channels: int | None = None


def may_block(audio: Audio) -> bool:
    """Whether `load` may take longer than an event loop should wait."""
    if isinstance(audio, (np.ndarray, memoryview)):
        return audio.nbytes > SMALL_BYTES
    return not isinstance(audio, (bytes, bytearray)) or len(audio) > SMALL_BYTES


def load(
    audio: Audio,
    *,
    sample_rate: int | None,
    channels: int | None,
    encoding: Encoding,
    max_bytes: int = MAX_AUDIO_BYTES,
) -> Payload:
    """Read the audio and describe it.

    Raises:
        TypeError: the object holds no audio.
        ValueError: rate, channels or encoding do not match the audio.
        TooLarge: the audio exceeds `max_bytes`, or the size of a request.
        OSError: the file cannot be read.
    """
    if encoding not in get_args(Encoding):
        raise ValueError(f"encoding is {encoding!r}, not one of {', '.join(get_args(Encoding))}")
    max_bytes = min(max_bytes, MAX_AUDIO_BYTES)
    if isinstance(audio, np.ndarray):
        if encoding != "container" or channels is not None:
            raise ValueError("encoding and channels of an array follow from its dtype and shape")
        if sample_rate is None:
            raise ValueError("an array of samples needs sample_rate, in Hz")
        return encode(audio, sample_rate=positive("sample_rate", sample_rate), max_bytes=max_bytes)
    if encoding == "container":
        if sample_rate is not None or channels is not None:
            raise ValueError(
                "sample_rate and channels are for samples; an audio file carries its own "
                '(for a file of raw samples say encoding="pcm_s16le" or "pcm_f32le")'
            )
        return Payload(data=_read(audio, max_bytes), encoding=encoding)
    if sample_rate is None or channels is None:
        raise ValueError(f"{encoding} needs sample_rate, in Hz, and channels")
    rate, count = positive("sample_rate", sample_rate), positive("channels", channels)
    return Payload(
        data=_read(audio, max_bytes), encoding=encoding, sample_rate=rate, channels=count
    )


def encode(samples: Samples, *, sample_rate: int, max_bytes: int = MAX_AUDIO_BYTES) -> Payload:
    """Encode samples as little-endian PCM, channels interleaved.

    Args:
        samples: `[samples]` or `[samples, channels]`. Full scale is 1 for a float dtype and the
            range for an integer dtype; the zero of unsigned integers is in the middle.
        sample_rate: in Hz.
        max_bytes: as in `load`.

    Integers of 8 and 16 bits become 16 bits without loss, everything else becomes float32.
    """
    if samples.ndim not in (1, 2):
        raise ValueError(f"an array is [samples] or [samples, channels], not {samples.ndim}-D")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if not 1 <= channels <= MAX_ARRAY_CHANNELS:
        raise ValueError(
            f"the array of shape {samples.shape} has {channels} channels; 1 to "
            f"{MAX_ARRAY_CHANNELS} are possible, and the order is [samples, channels]"
        )
    kind, bits = samples.dtype.kind, samples.dtype.itemsize * 8
    encoding: Encoding = "pcm_s16le" if kind in "iu" and bits <= 16 else "pcm_f32le"
    _check_size(samples.size * (2 if encoding == "pcm_s16le" else 4), max_bytes)
    if encoding == "pcm_s16le":
        # The wrap-around is intended: flipping the top bit moves an unsigned zero to the middle.
        wide = samples.astype("<i2") << (16 - bits)
        pcm = (wide ^ np.int16(-(2**15)) if kind == "u" else wide).astype("<i2")
    elif kind in "iu":
        offset = 2.0 ** (bits - 1) if kind == "u" else 0.0
        pcm = ((samples.astype(np.float64) - offset) / 2.0 ** (bits - 1)).astype("<f4")
    elif kind == "f":
        # A double beyond float32 becomes infinite, and the server reports that.
        with np.errstate(over="ignore"):
            pcm = samples.astype("<f4")
    else:
        raise TypeError(f"an array of dtype {samples.dtype} holds no samples")
    return Payload(
        data=pcm.tobytes(), encoding=encoding, sample_rate=sample_rate, channels=channels
    )


def _read(
    audio: str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile, max_bytes: int
) -> bytes:
    if isinstance(audio, (bytes, bytearray, memoryview)):
        data = bytes(audio)
    elif isinstance(audio, (str, os.PathLike)):
        path = Path(audio)
        _check_size(path.stat().st_size, max_bytes)
        data = path.read_bytes()
    elif hasattr(audio, "read"):
        data = audio.read()
        if not isinstance(data, bytes):
            raise TypeError("the file object does not give bytes; open it in binary mode")
    else:
        raise TypeError(
            "audio is a path, bytes, a binary file object or a numpy array, "
            f"not {type(audio).__name__}"
        )
    _check_size(len(data), max_bytes)
    return data


def _check_size(byte_count: int, max_bytes: int) -> None:
    if byte_count > max_bytes:
        raise TooLarge(f"{byte_count} bytes, this client sends at most {max_bytes}")


def positive(name: str, value: int) -> int:
    """The value as an int; raises TypeError or ValueError."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is a number, not {value}")
    number = operator.index(value)
    if number < 1:
        raise ValueError(f"{name} is {number}, not a positive number")
    return number
