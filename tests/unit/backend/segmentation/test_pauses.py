from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from asr_backend.segmentation.pauses import Pause, find_pause
from tests.support import recordings

RATE_HZ = 16_000


def noise(seconds: float, level: float, seed: int = 0) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (level * random.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def audio(*parts: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.concatenate([noise(*part, seed=seed) for seed, part in enumerate(parts)])


def seconds(pause: Pause | None) -> tuple[float, float]:
    assert pause is not None
    return pause.start / RATE_HZ, pause.end / RATE_HZ


def test_of_good_pauses_the_first_is_taken() -> None:
    clip = audio((2, 0.1), (0.34, 0.001), (1, 0.1), (0.7, 0.001), (2, 0.1), (2, 0.001), (1, 0.1))
    assert seconds(find_pause(clip, first=0)) == pytest.approx((3.34, 4.04), abs=0.02)


def test_of_short_pauses_the_longest_of_the_second_half_is_taken() -> None:
    word = (1, 0.1)
    clip = audio(word, (0.39, 0.001), word, (0.32, 0.001), word, (0.36, 0.001), word)
    assert seconds(find_pause(clip, first=0)) == pytest.approx((3.71, 4.07), abs=0.02)


def test_pauses_are_looked_for_behind_a_sample_only() -> None:
    clip = audio((2, 0.1), (0.8, 0.001), (1, 0.1), (0.6, 0.001), (2, 0.1))
    start, _ = seconds(find_pause(clip, first=3 * RATE_HZ))
    assert start == pytest.approx(3.8, abs=0.02)
    # The rest of a pause counts as a pause.
    start, _ = seconds(find_pause(clip, first=round(2.2 * RATE_HZ)))
    assert start == pytest.approx(2.2, abs=0.02)
    assert find_pause(audio((2, 0.1), (0.8, 0.001), (1, 0.1)), first=round(2.6 * RATE_HZ)) is None


def test_the_silence_of_a_pause_ends_where_somebody_whispers() -> None:
    clip = audio((2, 0.1), (0.4, 0.001), (0.6, 0.003), (0.8, 0.001), (2, 0.1))
    pause = find_pause(clip, first=0)
    assert seconds(pause) == pytest.approx((2.0, 3.8), abs=0.02)
    assert pause is not None
    assert [edge / RATE_HZ for edge in pause.silence] == pytest.approx([3.0, 3.8], abs=0.02)


def test_a_pause_that_is_all_whisper_has_no_silence() -> None:
    clip = audio((1, 0.001), (2, 0.1), (0.8, 0.003), (2, 0.1))
    pause = find_pause(clip, first=2 * RATE_HZ)
    assert seconds(pause) == pytest.approx((3.0, 3.8), abs=0.02)
    assert pause is not None
    assert [edge / RATE_HZ for edge in pause.silence] == pytest.approx([3.4, 3.4], abs=0.02)


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.1])
def test_audio_without_contrast_has_no_pause(level: float) -> None:
    assert find_pause(noise(5, level), first=0) is None


def test_a_pause_in_noise_is_found_and_an_offset_does_not_hide_it() -> None:
    clip = audio((2, 0.1), (0.5, 0.01), (1.5, 0.1)) + np.float32(0.3)
    assert seconds(find_pause(clip, first=0)) == pytest.approx((2.0, 2.5), abs=0.02)


@pytest.mark.parametrize("name", sorted(recordings.texts()))
def test_a_pause_between_recordings_is_found(name: str) -> None:
    silence = np.zeros(RATE_HZ // 2, np.float32)
    words = recordings.samples(name)
    pause = find_pause(np.concatenate([words, silence, words]), first=len(words) // 2)
    assert pause is not None
    assert pause.start <= len(words) + 800
    assert pause.end >= len(words) + len(silence) - 800
    assert pause.start <= pause.silence[0] <= len(words) + 320
    assert len(words) + len(silence) - 320 <= pause.silence[1] <= pause.end


def test_nothing_is_no_pause() -> None:
    assert find_pause(np.zeros(0, np.float32), first=0) is None
