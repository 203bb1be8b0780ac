"""Raw PCM of a stated format."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from asr_backend.audio.clock import Gap
from asr_backend.audio.format import Channel, PcmFormat, Samples
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.mixing import Mixer
from asr_backend.audio.warning import WarningList
from asr_backend.errors import AsrError, ErrorCode, rounded_up


class RawPcm:
    """Raw PCM in memory.

    Args:
        view: all of its bytes; not copied.
        format: of the samples.

    Attributes:
        channels: the number of channels.
        duration_s: the length in seconds.
        warnings: complete when `pieces` has ended.

    Raises:
        AsrError: CORRUPT_AUDIO if the last frame is incomplete.
    """

    def __init__(self, view: memoryview, format: PcmFormat) -> None:
        if view.nbytes % format.frame_bytes:
            raise AsrError(
                ErrorCode.CORRUPT_AUDIO,
                f"{view.nbytes} bytes are no whole number of frames of {format.frame_bytes} bytes "
                f"({format.encoding}, channels {format.channels})",
            )
        self._view = view
        self._format = format
        self.channels = format.channels
        self.warnings = WarningList()
        self.duration_s = view.nbytes / format.frame_bytes / format.sample_rate_hz

    def pieces(
        self, channel: Channel, limits: AudioLimits
    ) -> Generator[tuple[int, Samples] | Gap, None, None]:
        """Yield (sample rate in Hz, at most a second of float32 [frames] mono). There are no gaps.

        Raises:
            AsrError: AUDIO_TOO_LONG; BAD_OPTIONS for a channel that the audio does not have.
        """
        if self.duration_s > limits.max_audio_s:
            raise limits.too_long(rounded_up(self.duration_s))
        dtype, rate_hz = self._format.dtype, self._format.sample_rate_hz
        limits.check_samples(self._view.nbytes // dtype.itemsize)
        mixer = Mixer(channel, self.channels)
        samples = np.frombuffer(self._view, dtype).reshape(-1, self.channels)
        for start in range(0, len(samples), rate_hz):
            yield rate_hz, mixer.mono(samples[start : start + rate_hz], rate_hz)
        mixer.report(self.warnings)

    def close(self) -> None:
        """Release the bytes."""
        self._view = memoryview(b"")
