from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from asr_backend.pauses import last_pause
from tests import recordings

RATE_HZ = 16_000


def noise(seconds: float, level: float, seed: int = 0) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (level * random.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def audio(*parts: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.concatenate([noise(*part, seed=seed) for seed, part in enumerate(parts)])


def seconds(pause: tuple[int, int] | None) -> tuple[float, float]:
    assert pause is not None
    return pause[0] / RATE_HZ, pause[1] / RATE_HZ


def test_of_long_pauses_the_last_is_taken() -> None:
    clip = audio((2, 0.1), (2, 0.001), (1, 0.1), (0.7, 0.001), (2, 0.1), (0.4, 0.001), (1, 0.1))
    assert seconds(last_pause(clip, first=0)) == pytest.approx((5.0, 5.7), abs=0.02)


def test_of_short_pauses_the_longest_is_taken() -> None:
    clip = audio((2, 0.1), (0.5, 0.001), (1, 0.1), (0.4, 0.001), (2, 0.1))
    assert seconds(last_pause(clip, first=0)) == pytest.approx((2.0, 2.5), abs=0.02)


def test_pauses_are_looked_for_behind_a_sample_only() -> None:
    clip = audio((2, 0.1), (0.8, 0.001), (1, 0.1), (0.4, 0.001), (2, 0.1))
    start, _ = seconds(last_pause(clip, first=3 * RATE_HZ))
    assert start == pytest.approx(3.8, abs=0.02)
    # Half a pause is none that begins there.
    assert last_pause(audio((2, 0.1), (0.8, 0.001), (1, 0.1)), first=round(2.6 * RATE_HZ)) is None


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.1])
def test_audio_without_contrast_has_no_pause(level: float) -> None:
    assert last_pause(noise(5, level), first=0) is None


def test_a_pause_in_noise_is_found_and_an_offset_does_not_hide_it() -> None:
    clip = audio((2, 0.1), (0.5, 0.01), (2, 0.1)) + np.float32(0.3)
    assert seconds(last_pause(clip, first=0)) == pytest.approx((2.0, 2.5), abs=0.02)


@pytest.mark.parametrize("name", sorted(recordings.texts()))
def test_a_pause_between_recordings_is_found(name: str) -> None:
    silence = np.zeros(RATE_HZ // 2, np.float32)
    words = recordings.samples(name)
    pause = last_pause(np.concatenate([words, silence, words]), first=len(words) // 2)
    assert pause is not None
    assert pause[0] <= len(words) + 800
    assert pause[1] >= len(words) + len(silence) - 800


def test_nothing_is_no_pause() -> None:
    assert last_pause(np.zeros(0, np.float32), first=0) is None
