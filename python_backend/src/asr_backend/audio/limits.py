"""How much audio one call may bring."""

from __future__ import annotations

from dataclasses import dataclass

from asr_backend.errors import AsrError, ErrorCode


@dataclass(frozen=True, kw_only=True)
class AudioLimits:
    """How much audio one call may bring."""

    max_audio_s: float
    """Seconds of audio, counted while it decodes."""
    max_audio_bytes: int
    """Bytes as submitted."""
    max_audio_samples: int = 2**31
    """Samples of all channels together at the submitted rate, counted while it decodes."""
    reason: str = ""
    """What sets `max_audio_s`, where the options of the call do; a refusal quotes it."""

    def check_samples(self, count: int) -> None:
        """Raise AUDIO_TOO_LONG if this many samples are too many."""
        if count > self.max_audio_samples:
            raise AsrError(
                ErrorCode.AUDIO_TOO_LONG,
                f"{count} samples of all channels together, the limit is "
                f"{self.max_audio_samples} (rate times channels times seconds)",
            )

    def too_long(self, length: str) -> AsrError:
        """The refusal of audio of this many seconds."""
        return AsrError(
            ErrorCode.AUDIO_TOO_LONG,
            f"{length} s, the limit is {self.max_audio_s:g} s{self.reason}",
        )
