"""Limits on the audio of one call."""

from __future__ import annotations

from dataclasses import dataclass

from asr_backend.errors import AsrError, ErrorCode


@dataclass(frozen=True, kw_only=True)
class AudioLimits:
    """Limits on the audio of one call."""

    max_audio_s: float
    """Seconds of audio, counted during decoding."""
    max_audio_bytes: int
    """Submitted bytes."""
    max_audio_samples: int = 2**31
    """Samples of all channels together at the submitted rate, counted during decoding."""
    reason: str = ""
    """Why `max_audio_s` is lower for this call, if its options lower it; a refusal quotes it."""

    def check_samples(self, count: int) -> None:
        """Raise AUDIO_TOO_LONG if there are too many samples."""
        if count > self.max_audio_samples:
            raise AsrError(
                ErrorCode.AUDIO_TOO_LONG,
                f"{count} samples of all channels together, the limit is "
                f"{self.max_audio_samples} (rate times channels times seconds)",
            )

    def too_long(self, length: str) -> AsrError:
        """The error for audio of this many seconds."""
        return AsrError(
            ErrorCode.AUDIO_TOO_LONG,
            f"{length} s, the limit is {self.max_audio_s:g} s{self.reason}",
        )
