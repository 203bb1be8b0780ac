"""Mixes channels to mono."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import Channel, Samples, check_channel
from asr_backend.audio.levels import Levels
from asr_backend.audio.warning import WarningList

COLLECTED_S = 0.25


class Mixer:
    """Makes one recording mono, and measures its levels.

    Args:
        channel: an index, or "mix" for the mean of all.
        channels: of the recording; a part of it may have more or fewer.

    Raises:
        AsrError: BAD_OPTIONS for a channel that the recording does not have.
    """

    def __init__(self, channel: Channel, channels: int) -> None:
        check_channel(channel, channels)
        self._channel = channel
        is_one_of_many = channel != "mix" and channels > 1
        self._levels = Levels(f"channel {channel}" if is_one_of_many else "the audio")
        # Frames of one rate, type and number of channels.
        self._waiting: list[npt.NDArray[Any]] = []
        self._waiting_count = 0
        self._rate_hz = 0

    def push(self, samples: npt.NDArray[Any], rate_hz: int) -> Iterator[tuple[int, Samples]]:
        """Take a frame of any length; yield (rate in Hz, at most a second of mono samples).

        Short frames are collected: each step of numpy costs more than the work on one of them.
        """
        if self._waiting and (
            rate_hz != self._rate_hz or not _are_alike(samples, self._waiting[0])
        ):
            yield from self.flush()
        self._rate_hz = rate_hz
        self._waiting.append(samples)
        self._waiting_count += len(samples)
        if self._waiting_count >= COLLECTED_S * rate_hz:
            yield from self.flush()

    def flush(self) -> Iterator[tuple[int, Samples]]:
        """Yield what waits."""
        waiting, rate_hz = self._waiting, self._rate_hz
        self._waiting, self._waiting_count = [], 0
        if not waiting:
            return
        samples = np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
        # A packet may hold much more than a second, and its conversion takes far more memory.
        for start in range(0, len(samples), rate_hz):
            yield rate_hz, self.mono(samples[start : start + rate_hz], rate_hz)

    def mono(self, samples: npt.NDArray[Any], rate_hz: int) -> Samples:
        """Make samples mono.

        Args:
            samples: [frames, channels] of uint8, int16, int32, int64, float32 or float64.
            rate_hz: their rate.

        Returns:
            float32 [frames], full scale 1; NaN and infinity are kept. Silence if the samples lack
            the channel.
        """
        if not len(samples):
            return np.zeros(0, np.float32)
        channel = self._channel
        if channel != "mix" and channel >= samples.shape[1]:
            return np.zeros(len(samples), np.float32)
        floats = _floats(samples, channel)
        mono = _mean(floats)
        self._levels.push(floats, mono, rate_hz)
        return mono

    def report(self, warnings: WarningList) -> None:
        """Add the warnings about levels; to be called once, at the end."""
        self._levels.report(warnings)


def to_mono(samples: npt.NDArray[Any], channel: Channel) -> Samples:
    """Take one channel, or the mean of all.

    Args:
        samples: [frames, channels] of uint8, int16, int32, int64, float32 or float64.
        channel: an index, or "mix" for the mean of all.

    Returns:
        float32 [frames], full scale 1; NaN and infinity are kept.

    Raises:
        AsrError: BAD_OPTIONS for a channel that the audio does not have.
    """
    check_channel(channel, samples.shape[1])
    return _mean(_floats(samples, channel))


def _floats(samples: npt.NDArray[Any], channel: Channel) -> npt.NDArray[np.float32]:
    """One channel or all of them, float32 [frames, channels], full scale 1."""
    if channel != "mix":
        samples = samples[:, channel : channel + 1]
    with np.errstate(over="ignore", invalid="ignore"):
        floats = samples.astype(np.float32)
        if samples.dtype == np.uint8:
            floats -= 128
        if samples.dtype.kind in "iu":
            floats *= np.float32(0.5 ** (8 * samples.dtype.itemsize - 1))
    return floats


def _mean(floats: npt.NDArray[np.float32]) -> Samples:
    # A mean over one channel would copy.
    with np.errstate(over="ignore", invalid="ignore"):
        mean: Samples = floats[:, 0] if floats.shape[1] == 1 else floats.mean(axis=1)
    return mean


def _are_alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape[1] == other.shape[1]
