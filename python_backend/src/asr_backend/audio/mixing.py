"""Mixes channels to mono."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import Channel, Samples, check_channel


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
    if channel != "mix":
        samples = samples[:, channel : channel + 1]
    with np.errstate(over="ignore", invalid="ignore"):
        floats = samples.astype(np.float32)
        if samples.dtype == np.uint8:
            floats -= 128
        if samples.dtype.kind in "iu":
            floats *= np.float32(0.5 ** (8 * samples.dtype.itemsize - 1))
        # A mean over one channel would copy.
        return floats[:, 0] if floats.shape[1] == 1 else floats.mean(axis=1)
