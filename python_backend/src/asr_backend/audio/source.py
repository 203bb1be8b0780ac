"""One submitted recording: opened once, decoded on demand."""

from __future__ import annotations

import mmap
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from asr_backend.audio.clock import Gap
from asr_backend.audio.format import SAMPLE_RATE_HZ, Channel, PcmFormat, Samples
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.media import MediaFile
from asr_backend.audio.pcm import RawPcm
from asr_backend.audio.resampling import Resampler
from asr_backend.audio.warning import AudioWarning, WarningList
from asr_backend.audio.wav import as_pcm
from asr_backend.errors import AsrError, ErrorCode, rounded_up


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Samples at 16 kHz that are zero because the file has none at that time."""

    samples: int


Block = Samples | Silence
"""Mono audio at 16 kHz: float32 [samples] of about a second, or silence of any length."""


class _Opened(Protocol):
    """An open file or raw PCM."""

    @property
    def channels(self) -> int: ...

    @property
    def duration_s(self) -> float | None: ...

    @property
    def warnings(self) -> WarningList: ...

    def pieces(
        self, channel: Channel, limits: AudioLimits
    ) -> Generator[tuple[int, Samples] | Gap, None, None]: ...

    def close(self) -> None: ...


class Source:
    """A file in memory, or raw PCM.

    The first use opens it: `channels`, `duration_s` or the first block. Opening a file takes about
    a millisecond, so use a thread; libav releases the interpreter lock. Only one thread at a time
    may use it.

    Args:
        data: the submitted bytes; not copied.
        pcm: the format of raw PCM; None for a file, which states its own.
        max_bytes: longer data is refused.
    """

    def __init__(
        self,
        data: bytes | memoryview | mmap.mmap,
        *,
        pcm: PcmFormat | None = None,
        max_bytes: int,
    ) -> None:
        self._data = data
        self._pcm = pcm
        self._max_bytes = max_bytes
        self._opened: _Opened | None = None

    @property
    def channels(self) -> int:
        """Number of channels.

        Raises:
            AsrError: the audio cannot be opened; the codes are those of `blocks`.
        """
        return self._open().channels

    @property
    def duration_s(self) -> float | None:
        """Length in seconds, without decoding.

        It is exact for raw PCM and plain WAV. For another file it is what the file states, or what
        libav estimates; None where there is neither.

        Raises:
            AsrError: the audio cannot be opened; the codes are those of `blocks`.
        """
        return self._open().duration_s

    @property
    def warnings(self) -> tuple[AudioWarning, ...]:
        """What the caller should know about the audio; complete when `blocks` has ended."""
        return self._opened.warnings.all() if self._opened is not None else ()

    def blocks(self, channel: Channel, limits: AudioLimits) -> Generator[Block, None, None]:
        """Decode, mix and resample. To be called once.

        The generator decodes on demand and holds a few seconds of audio at a time, whatever the
        file expands to. It closes the source when it ends or is closed.

        A mix is the mean of all channels; libav's own downmix would weigh channels and drop some.
        Audio at 16 kHz is not changed: 16-bit samples become `sample / 32768`.

        Time is that of the container's clock, from its start: where the timestamps leave a gap,
        there is silence. A gap counts towards the limit before any silence is made.

        A truncated file is decoded as far as it goes, whatever its header states, with a warning.
        If audio fails to decode and goes on later, it is refused with the second where it failed.
        Raw AAC keeps the encoder's delay, which only a container states.

        Args:
            channel: the channel to take.
            limits: longer audio is refused: as soon as the file states it, else during decoding.

        Yields:
            float32 [samples], mono, 16 kHz, full scale 1, about one second each; or Silence. All of
            them together have ceil(n * 16000 / rate) samples for n at the submitted rate.

        Raises:
            AsrError: EMPTY_AUDIO, AUDIO_TOO_LARGE, AUDIO_TOO_LONG, UNSUPPORTED_FORMAT,
                CORRUPT_AUDIO, BAD_SAMPLE_RATE, NON_FINITE_SAMPLES, or BAD_OPTIONS for a channel
                that the audio does not have.
        """
        try:
            with closing(self._open().pieces(channel, limits)) as pieces:
                yield from _resampled(pieces, limits)
        finally:
            self.close()

    def close(self) -> None:
        """Release the bytes. If it was open, `channels` and `duration_s` keep their values."""
        self._data = b""
        if self._opened is not None:
            self._opened.close()

    def _open(self) -> _Opened:
        if self._opened is None:
            view = memoryview(self._data).cast("B")
            if not view.nbytes:
                raise AsrError(ErrorCode.EMPTY_AUDIO, "AUDIO has 0 bytes")
            if view.nbytes > self._max_bytes:
                raise AsrError(
                    ErrorCode.AUDIO_TOO_LARGE,
                    f"{view.nbytes} bytes, the limit is {self._max_bytes} bytes",
                )
            if self._pcm is not None:
                self._opened = RawPcm(view, self._pcm)
            elif (plain := as_pcm(view)) is not None:
                self._opened = RawPcm(*plain)
            else:
                self._opened = MediaFile(view)
        return self._opened


def _resampled(pieces: Iterator[tuple[int, Samples] | Gap], limits: AudioLimits) -> Iterator[Block]:
    """Resample pieces of any rates to 16 kHz, fill gaps, and enforce the limit of seconds."""
    seconds = 0.0
    sample_count = 0
    for run in _runs(pieces):
        if isinstance(run, Gap):
            seconds += run.seconds
            if seconds > limits.max_audio_s + 1e-6:
                raise limits.too_long(rounded_up(seconds))
            if (silent := round(seconds * SAMPLE_RATE_HZ) - sample_count) > 0:
                yield Silence(samples=silent)
                sample_count += silent
            continue
        added_s, block = run
        seconds += added_s
        if seconds > limits.max_audio_s + 1e-6:
            raise limits.too_long(f"more than {limits.max_audio_s:g}")
        if len(block):
            yield _finite(block, sample_count)
            sample_count += len(block)
    if not sample_count:
        raise AsrError(ErrorCode.EMPTY_AUDIO, "the audio decodes to 0 samples")


def _runs(
    pieces: Iterator[tuple[int, Samples] | Gap],
) -> Iterator[tuple[float, Samples] | Gap]:
    """Resample; yield the seconds that went in with each block that comes out, and the gaps."""
    resampler: Resampler | None = None
    for piece in pieces:
        rate_hz = None if isinstance(piece, Gap) else piece[0]
        if resampler is not None and resampler.rate_hz != rate_hz:
            yield 0.0, resampler.finish()
            resampler = None
        if isinstance(piece, Gap):
            yield piece
            continue
        rate_hz, mono = piece
        if resampler is None:
            resampler = Resampler(rate_hz)
        yield len(mono) / rate_hz, resampler.push(mono)
    if resampler is not None:
        yield 0.0, resampler.finish()


def _finite(block: Samples, position: int) -> Samples:
    if not np.isfinite(block).all():
        first = (position + int(np.argmin(np.isfinite(block)))) / SAMPLE_RATE_HZ
        raise AsrError(ErrorCode.NON_FINITE_SAMPLES, f"NaN or infinity at {first:.2f} s")
    return block
