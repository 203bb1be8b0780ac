"""Measures the levels of submitted samples, second by second, for warnings about them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_backend.audio.warning import WarningCode, WarningList

FULL_SCALE = 0.98
"""A sample of this magnitude is at full scale: the largest values of mu-law and of 8 bits are 0.980
and 0.992."""
CLIPPED_SHARE = 0.01
"""A second is clipped if this share of its samples is at full scale. The loudest of the recordings
in tests/data, with peaks at full scale, has 0.0022; amplified by another 6 dB, it has 0.0275."""
QUIET_DBFS = -60.0
"""A recording is very quiet if no second is louder. Telephone speech has about -26 dB, the
recordings in tests/data from -15 to -29 dB; at -60 dB, 16 bits leave 38 dB above their rounding."""
CANCELLED_DB = 10.0
"""Channels cancel in a second if their mean is so much quieter than that of unrelated channels of
the same levels, which is 1/channels of their mean power."""
CANCELLED_SHARE = 0.1
"""Channels cancel in a recording if the seconds in which they do have this share of its energy."""


class Levels:
    """The levels of one recording, in bounded memory. A constant offset counts as no level.

    Args:
        name: what is measured, as the subject of a sentence.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._frames = self._clipped = 0
        self._channels = 1
        self._power = self._mixed_power = 0.0
        self._sums: npt.NDArray[np.floating[Any]] = np.zeros(1)
        """Of each channel."""
        self._seconds = self._clipped_seconds = 0
        self._loudest = 0.0
        self._energy = self._cancelled_energy = 0.0

    def push(
        self, samples: npt.NDArray[np.float32], mono: npt.NDArray[np.float32], rate_hz: int
    ) -> None:
        """Take the next samples, [frames, channels], and the mean of the channels, [frames]."""
        if self._frames and samples.shape[1] != self._channels:
            self._close_second()
        with np.errstate(over="ignore", invalid="ignore"):
            self._sums = self._sums + samples.sum(axis=0, dtype=np.float64)
            mixed_power = float(np.dot(mono, mono))
            self._mixed_power += mixed_power
            if samples.shape[1] > 1:
                flat = samples.ravel()
                self._power += float(np.dot(flat, flat)) / samples.shape[1]
            else:
                self._power += mixed_power
            # Most audio has no such sample, and this costs little.
            if max(samples.max(), -samples.min()) >= FULL_SCALE:
                at_full_scale = np.count_nonzero(np.abs(samples) >= FULL_SCALE, axis=0)
                self._clipped += int(at_full_scale.max())
        self._frames += len(samples)
        self._channels = samples.shape[1]
        if self._frames >= rate_hz:
            self._close_second()

    def report(self, warnings: WarningList) -> None:
        """Add the warnings; to be called once, at the end."""
        if self._frames:
            self._close_second()
        if not self._seconds or not math.isfinite(self._energy):
            return
        if self._clipped_seconds:
            warnings.add(
                WarningCode.CLIPPED,
                f"{self._name} is clipped in {self._clipped_seconds} of {self._seconds} s: at "
                f"least {CLIPPED_SHARE:.0%} of its samples are at full scale",
            )
        level = 10 * math.log10(self._loudest) if self._loudest else -math.inf
        if level < QUIET_DBFS:
            found = f"has {level:.0f} dBFS in its loudest second" if self._loudest else "is silent"
            warnings.add(WarningCode.VERY_QUIET, f"{self._name} {found}")
        elif self._cancelled_energy >= CANCELLED_SHARE * self._energy:
            share = self._cancelled_energy / self._energy
            warnings.add(
                WarningCode.CHANNELS_CANCEL,
                f"the channels cancel each other where {share:.0%} of the energy is: their mean "
                'is almost silent; take one of them, or "separate"',
            )

    def _close_second(self) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            offsets = self._sums / self._frames
            power = self._power / self._frames - float(np.mean(offsets**2))
            mixed_power = self._mixed_power / self._frames - float(np.mean(offsets) ** 2)
        # A NaN stays one: nothing is reported then.
        power = 0.0 if power < 0 else power
        energy = power * self._frames
        self._seconds += 1
        self._loudest = max(self._loudest, power)
        self._energy += energy
        self._clipped_seconds += self._clipped >= CLIPPED_SHARE * self._frames
        unrelated = power / self._channels
        if self._channels > 1 and mixed_power < unrelated * 10 ** (-CANCELLED_DB / 10):
            self._cancelled_energy += energy
        self._frames = self._clipped = 0
        self._sums = np.zeros(1)
        self._power = self._mixed_power = 0.0
