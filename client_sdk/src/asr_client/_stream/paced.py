"""Plays a recording in real time, in place of a microphone."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from asr_client._audio import encode
from asr_client._stream.form import BYTES_OF
from asr_client._stream.wav import read_header
from asr_client._types import Encoding, Samples


class Paced:
    """Chunks of raw PCM, each at the time at which it would have been recorded.

    Both `for` and `async for` iterate over it; from `paced`.
    """

    sample_rate: int
    """In Hz."""
    channels: int
    encoding: Encoding

    def __init__(
        self,
        pcm: bytes,
        *,
        sample_rate: int,
        channels: int,
        encoding: Encoding,
        chunk_s: float,
        speed: float,
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.encoding = encoding
        frames = max(1, round(chunk_s * sample_rate))
        self._pcm = pcm
        self._size = frames * channels * BYTES_OF[encoding]
        self._step_s = frames / sample_rate / speed

    def __iter__(self) -> Iterator[bytes]:
        began_s = time.monotonic()
        for number, chunk in enumerate(self._chunks(), 1):
            time.sleep(max(0.0, began_s + number * self._step_s - time.monotonic()))
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        began_s = time.monotonic()
        for number, chunk in enumerate(self._chunks(), 1):
            await asyncio.sleep(max(0.0, began_s + number * self._step_s - time.monotonic()))
            yield chunk

    def _chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self._pcm), self._size):
            yield self._pcm[start : start + self._size]


def paced(
    audio: str | os.PathLike[str] | Samples,
    *,
    sample_rate: int | None = None,
    chunk_s: float = 0.1,
    speed: float = 1.0,
) -> Paced:
    """Play a recording in real time.

    Args:
        audio: the path of a WAV file with 16-bit or float samples, or an array of samples.
        sample_rate: of an array, in Hz.
        chunk_s: seconds of each chunk.
        speed: 2 plays twice as fast; `math.inf` does not wait.

    Raises:
        ValueError: an argument is wrong, or the file is no such WAV.
        OSError: the file cannot be read.
    """
    if not 0 < chunk_s < math.inf or not speed > 0:
        raise ValueError(f"chunk_s is {chunk_s} and speed is {speed}; both are above 0")
    if isinstance(audio, (str, os.PathLike)):
        if sample_rate is not None:
            raise ValueError("sample_rate is for arrays; a file carries its own")
        with Path(audio).open("rb") as file:
            form = read_header(file.read)
            pcm = file.read(-1 if form.data_bytes is None else form.data_bytes)
        rate, channels, encoding = form.sample_rate, form.channels, form.encoding
    else:
        if sample_rate is None:
            raise ValueError("an array of samples needs sample_rate, in Hz")
        payload = encode(audio, sample_rate=sample_rate)
        pcm, rate, channels = bytes(payload.data), sample_rate, payload.channels or 1
        encoding = payload.encoding
    return Paced(
        pcm,
        sample_rate=rate,
        channels=channels,
        encoding=encoding,
        chunk_s=chunk_s,
        speed=speed,
    )
