"""What the sources of samples share: mixing to mono."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from asr_backend.front.contract import check_channel

FloatArray = npt.NDArray[np.float32]


def to_mono(samples: npt.NDArray[Any], channel: Literal["mix", "separate"] | int) -> FloatArray:
    """One channel, or the mean of all.

    Args:
        samples: [frames, channels] of uint8, int16, int32, int64, float32 or float64.
        channel: an index, else the mean is taken.

    Returns:
        float32 [frames], full scale 1; NaN and infinity stay what they are.

    Raises:
        AsrError: BAD_OPTIONS for an index that the audio has not.
    """
    if isinstance(channel, int):
        check_channel(channel, samples.shape[1])
        samples = samples[:, channel : channel + 1]
    with np.errstate(over="ignore", invalid="ignore"):
        floats = samples.astype(np.float32)
        if samples.dtype == np.uint8:
            floats -= 128
        if samples.dtype.kind in "iu":
            floats *= np.float32(0.5 ** (8 * samples.dtype.itemsize - 1))
        # A mean over one channel would copy.
        return floats[:, 0] if floats.shape[1] == 1 else floats.mean(axis=1)
