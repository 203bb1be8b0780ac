"""Submitted audio to blocks of mono samples at 16 kHz, decoded as they are asked for."""

from asr_backend.audio.decoding import AudioLimits, decode, estimate_duration_s
from asr_backend.audio.resampling import SAMPLE_RATE_HZ

__all__ = ["SAMPLE_RATE_HZ", "AudioLimits", "decode", "estimate_duration_s"]
