"""Inputs that the service must refuse, each with the code that the contract has for it."""

from __future__ import annotations

import struct

from load_tests.run.corpus import Clip
from tools.recordings import wav

_SECOND = wav(bytes(32_000), 16_000)


def _bad(name: str, audio: bytes, refusal: str, **options: object) -> Clip:
    return Clip(
        name=f"bad: {name}",
        kind="bad",
        audio=audio,
        duration_s=0.0,
        options=options,
        refusal=refusal,
    )


BAD_INPUTS: tuple[Clip, ...] = (
    _bad("empty", b"", "EMPTY_AUDIO"),
    _bad("no samples", wav(b"", 16_000), "EMPTY_AUDIO"),
    _bad("text", b"these are words, not samples\n" * 50, "UNSUPPORTED_FORMAT"),
    _bad("playlist", b"ffconcat version 1.0\nfile other.wav\n", "UNSUPPORTED_FORMAT"),
    _bad("half a header", _SECOND[:30], "CORRUPT_AUDIO"),
    _bad(
        "half a sample", bytes(3201), "CORRUPT_AUDIO",
        encoding="pcm_s16le", sample_rate=16_000, channels=1,
    ),
    _bad(
        "not a number", struct.pack("<f", float("nan")) * 1600, "NON_FINITE_SAMPLES",
        encoding="pcm_f32le", sample_rate=16_000, channels=1,
    ),
    _bad("1 Hz", bytes(3200), "BAD_OPTIONS", encoding="pcm_s16le", sample_rate=1, channels=1),
    _bad("no such channel", _SECOND, "BAD_OPTIONS", channel=7),
)  # fmt: skip
