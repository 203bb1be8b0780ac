"""Formats of audio: the rate of the service, the limits of a source, raw PCM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from asr_backend.errors import AsrError, ErrorCode, quoted

SAMPLE_RATE_HZ = 16_000
"""The rate of decoded audio, and of the acoustic model's input."""
MIN_SAMPLE_RATE_HZ = 1_000
MAX_SAMPLE_RATE_HZ = 384_000
MAX_CHANNELS = 64

Samples = npt.NDArray[np.float32]
"""Mono audio, float32 [samples], full scale 1."""

Channel = Literal["mix"] | int
"""The mean of all channels, or the index of one."""

Encoding = Literal["pcm_s16le", "pcm_f32le"]

_DTYPES: dict[Encoding, np.dtype[Any]] = {
    "pcm_s16le": np.dtype("<i2"),
    "pcm_f32le": np.dtype("<f4"),
}


@dataclass(frozen=True, kw_only=True)
class PcmFormat:
    """The format of raw PCM, interleaved."""

    encoding: Encoding
    sample_rate_hz: int
    channels: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of one sample."""
        return _DTYPES[self.encoding]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, which is one sample of each channel."""
        return self.dtype.itemsize * self.channels


def check_channel(channel: Channel, channels: int) -> None:
    """Check that audio of this many channels has the channel.

    Raises:
        AsrError: BAD_OPTIONS for an index beyond the last channel.
    """
    if channel != "mix" and channel >= channels:
        raise AsrError(
            ErrorCode.BAD_OPTIONS,
            f"channel is {quoted(channel)}, the audio has {channels} "
            f"channel{'s' if channels > 1 else ''}: 0 to {channels - 1}",
        )
