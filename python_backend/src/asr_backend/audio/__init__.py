"""Submitted audio to blocks of mono samples at 16 kHz, decoded as they are asked for."""

from asr_backend.audio.decoding import count_channels, decode, estimate_duration_s
from asr_backend.audio.limits import AudioLimits

__all__ = ["AudioLimits", "count_channels", "decode", "estimate_duration_s"]
