"""Limits for options that multiply the work of a call: a wide beam, separate channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asr_backend.audio.limits import AudioLimits
from asr_backend.front.options import Options


@dataclass(frozen=True, kw_only=True)
class WorkLimits:
    """Limits on the work of one call, in addition to the length of its audio."""

    max_beam_work: float = 720_000.0
    """Beam width times seconds of audio."""
    max_channels_audio_s: float = 57_600.0
    """Channels times seconds of audio, if each channel is transcribed separately."""

    def audio_limits(
        self, limits: AudioLimits, options: Options, *, channels: int | None = None
    ) -> AudioLimits:
        """The limits for the audio of one call.

        Args:
            limits: for every call.
            options: of this call.
            channels: the number of channels that are transcribed separately; None if only the mix
                or one channel is.
        """
        bounds = [(limits.max_audio_s, limits.reason)]
        if (beam := options.beam) is not None:
            width = beam.width
            reason = f" at beam_width {width} (width times seconds: {self.max_beam_work:.10g})"
            bounds.append((self.max_beam_work / width, reason))
        if channels:
            reason = (
                f" for {channels} channels apart "
                f"(channels times seconds: {self.max_channels_audio_s:.10g})"
            )
            bounds.append((self.max_channels_audio_s / channels, reason))
        max_audio_s, reason = min(bounds)
        return replace(limits, max_audio_s=max_audio_s, reason=reason)
