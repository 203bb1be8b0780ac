"""Resamples mono audio of any rate to 16 kHz."""

from __future__ import annotations

import numpy as np

from asr_backend.audio.format import SAMPLE_RATE_HZ, Samples
from asr_backend.audio.libav import av


class Resampler:
    """Resamples a stream with libswresample, in blocks of about a second.

    For n pushed samples, push() and finish() return ceil(n * 16000 / rate) samples in all. The
    output is not shifted in time.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._resampler = (
            av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
            if rate_hz != SAMPLE_RATE_HZ
            else None
        )
        self._waiting: list[Samples] = []
        self._waiting_count = 0
        self._in_count = 0
        self._out_count = 0

    def push(self, mono: Samples) -> Samples:
        """Take float32 [samples] at the given rate; return float32 [any number] at 16 kHz."""
        self._waiting.append(mono)
        self._waiting_count += len(mono)
        return self._resample() if self._waiting_count >= self.rate_hz else _join([])

    def finish(self) -> Samples:
        """Return the remaining samples; nothing may be pushed after it."""
        last = [self._resample()]
        if self._resampler is not None:
            last.append(_join([_array(frame) for frame in self._resampler.resample(None)]))
            # The filter returns nothing for a clip shorter than half of the filter, a millisecond
            # or two. Such a clip is as good as silence, but its length counts.
            expected = -(-self._in_count * SAMPLE_RATE_HZ // self.rate_hz)
            given = self._out_count + len(last[-1])
            last.append(np.zeros(max(0, expected - given), np.float32))
        return _join(last)

    def _resample(self) -> Samples:
        mono = _join(self._waiting)
        self._waiting, self._waiting_count = [], 0
        self._in_count += len(mono)
        if self._resampler is None or not len(mono):
            out = mono
        else:
            frame = av.AudioFrame.from_ndarray(mono[np.newaxis], format="flt", layout="mono")
            frame.sample_rate = self.rate_hz
            out = _join([_array(frame) for frame in self._resampler.resample(frame)])
        self._out_count += len(out)
        return out


def _array(frame: av.AudioFrame) -> Samples:
    return np.frombuffer(memoryview(frame.planes[0]), np.float32, count=frame.samples)


def _join(arrays: list[Samples]) -> Samples:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.float32)
