"""Submitted audio to blocks of mono samples at 16 kHz, decoded as they are asked for."""

from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import count_channels, decode, estimate_duration_s

__all__ = ["AudioLimits", "count_channels", "decode", "estimate_duration_s"]
