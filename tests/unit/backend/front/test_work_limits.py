"""The limits also bound the work of a wide beam and of separate channels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from asr_backend.audio.limits import AudioLimits
from asr_backend.front.options import Options, parse_options
from asr_backend.front.work_limits import WorkLimits
from tests.support.backend.files import encode
from tests.support.backend.front import PCM, Front, levels, request, text_of

ANY = AudioLimits(max_audio_s=7200, max_audio_bytes=10**8)
BEAM = PCM | {"decoder": "beam"}
APART = PCM | {"channel": "separate"}


def options(**values: Any) -> Options:
    return parse_options(json.dumps(values).encode())


@pytest.mark.parametrize(
    ("given", "channels", "seconds", "reason"),
    [
        ({}, None, 7200, ""),
        ({"decoder": "beam"}, None, 7200, ""),
        (
            {"decoder": "beam", "beam_width": 1000},
            None,
            720,
            " at beam_width 1000 (width times seconds: 720000)",
        ),
        ({"channel": "separate"}, 8, 7200, ""),
        (
            {"channel": "separate"},
            64,
            900,
            " for 64 channels apart (channels times seconds: 57600)",
        ),
        (
            {"channel": "separate", "decoder": "beam", "beam_width": 1000},
            64,
            720,
            " at beam_width 1000 (width times seconds: 720000)",
        ),
    ],
)
def test_the_tightest_limit_counts_and_is_named(
    given: dict[str, Any], channels: int | None, seconds: float, reason: str
):
    limits = WorkLimits().audio_limits(ANY, options(**given), channels=channels)
    assert (limits.max_audio_s, limits.reason) == (seconds, reason)
    assert limits.max_audio_bytes == ANY.max_audio_bytes


async def test_a_wide_beam_is_refused_for_long_audio_before_anything_is_heard():
    front = Front(work_limits=WorkLimits(max_beam_work=100))
    audio = levels("ABCD " * 10)  # 2.02 s
    short, wide = (
        request(audio, BEAM | {"beam_width": 49}),
        request(audio, BEAM | {"beam_width": 51}),
    )
    usual = request(audio)
    await front.answer(short, usual, wide)
    assert text_of(short) == text_of(usual)
    assert wide.failure() == (
        "AUDIO_TOO_LONG: 2.1 s, the limit is 1.96078 s at beam_width 51 (width times seconds: 100)",
        "INVALID_ARG",
    )
    front.model.finalize()


async def test_many_channels_apart_are_refused_for_long_audio_before_anything_is_heard():
    front = Front(work_limits=WorkLimits(max_channels_audio_s=4))
    channels = np.repeat(np.frombuffer(levels("AB " * 10), "<i2")[:, None], 4, axis=1).tobytes()
    asked = request(channels, APART | {"channels": 4})  # 1.22 s
    mixed = request(channels, PCM | {"channels": 4})
    await front.answer(asked)
    assert not front.reader.windows
    assert asked.failure()[0] == (
        "AUDIO_TOO_LONG: 1.3 s, the limit is 1 s for 4 channels apart (channels times seconds: 4)"
    )
    await front.answer(mixed)
    assert text_of(mixed) == "AB " * 9 + "AB"
    front.model.finalize()


async def test_a_length_that_only_decoding_shows_is_held_too():
    """ADTS states no length."""
    front = Front(work_limits=WorkLimits(max_beam_work=100))
    audio = encode(
        np.zeros(16_000 * 5, np.int16), container="adts", codec="aac", rate_hz=16_000, layout="mono"
    )
    asked = request(audio, {"decoder": "beam"})
    await front.answer(asked)
    assert asked.failure()[0] == (
        "AUDIO_TOO_LONG: more than 1 s, the limit is 1 s at beam_width 100 "
        "(width times seconds: 100)"
    )
    front.model.finalize()
