"""Small audio files of every kind, made in memory, and broken ones."""

from __future__ import annotations

import io
import struct
from typing import Any

import av
import numpy as np
import numpy.typing as npt

TONE_HZ = 440.0


def tone(seconds: float, rate_hz: int, *, level: float = 0.5) -> npt.NDArray[np.float64]:
    """A sine, float64 [samples]."""
    return level * np.sin(2 * np.pi * TONE_HZ * np.arange(round(seconds * rate_hz)) / rate_hz)


def s16(samples: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """Full scale 1 to 16 bits."""
    return np.round(samples * 32767).astype("<i2")


def wav(
    data: bytes,
    *,
    rate_hz: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    is_float: bool = False,
    stated_bytes: int | None = None,
) -> bytes:
    """A WAV file with these samples; its header may state anything."""
    stated = len(data) if stated_bytes is None else stated_bytes
    frame = channels * bits // 8
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        (36 + stated) & 0xFFFFFFFF,
        b"WAVE",
        b"fmt ",
        16,
        3 if is_float else 1,
        channels,
        rate_hz,
        (rate_hz * frame) & 0xFFFFFFFF,
        frame,
        bits,
        b"data",
        stated,
    )
    return header + data


def encode(
    samples: npt.NDArray[np.int16],
    *,
    container: str,
    codec: str,
    rate_hz: int,
    layout: str = "mono",
    video: bool = False,
) -> bytes:
    """Encode int16 [samples] on every channel of the layout with libav."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        if video:
            picture = output.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        stream: Any = output.add_stream(codec, rate=rate_hz, options={"strict": "-2"})
        context = stream.codec_context
        context.layout = layout
        if codec.startswith("wma"):
            context.bit_rate = 128_000
        channels = context.layout.nb_channels
        interleaved = np.ascontiguousarray(np.repeat(samples[:, None], channels, 1).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
        frame.sample_rate = rate_hz
        context.open()
        resampler = av.AudioResampler(format=context.format, layout=layout, rate=rate_hz)
        queue = av.AudioFifo()
        for converted in (
            [*resampler.resample(frame), *resampler.resample(None)] if len(samples) else []
        ):
            converted.pts = None
            queue.write(converted)
        if video:
            for index in range(25):
                image = np.full((64, 64, 3), index * 10, np.uint8)
                output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            output.mux(picture.encode(None))
        position = 0
        while (part := queue.read(context.frame_size or 1024, partial=True)) is not None:
            part.pts = position
            position += part.samples
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def mov_with_samples_elsewhere(movie: bytes, name: str) -> bytes:
    """Move the samples of a QuickTime movie to another file, which the movie names."""
    path = name.encode()
    alias = bytes(50) + bytes([len(path)]) + path.ljust(63, b"\0") + bytes(16)
    alias += struct.pack(">HH16x", 1, 1)
    alias += struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0)
    reference = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    here = struct.pack(">I4sI", 12, b"url ", 1)
    data = bytearray(movie.replace(here, reference))
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = data.index(box) - 4
        size = struct.unpack_from(">I", data, at)[0] + len(reference) - len(here)
        struct.pack_into(">I", data, at, size)
    samples = data.index(b"mdat") + 4
    size = struct.unpack_from(">I", data, samples - 8)[0] - 8
    data[samples : samples + size] = bytes(size)
    return bytes(data)
