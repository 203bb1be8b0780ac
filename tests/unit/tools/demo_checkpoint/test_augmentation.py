import numpy as np
import pytest

from tools.demo_checkpoint.augmentation import (
    Strength,
    augment,
    change_speed,
    change_tempo,
    coloured_noise,
    filter_gains,
    mu_law,
    normalise,
    reverberation,
)
from tools.demo_checkpoint.pcm import RATE_HZ


def tone(frequency_hz: float, duration_s: float = 1.0) -> np.ndarray:
    time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    return np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)


def pitch_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE_HZ / len(samples))


def test_speed_moves_length_and_pitch() -> None:
    faster = change_speed(tone(400), 1.25)
    assert len(faster) == 12800
    assert pitch_hz(faster) == pytest.approx(500, abs=2)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_tempo_moves_length_only(factor: float) -> None:
    changed = change_tempo(tone(400), factor)
    assert len(changed) == pytest.approx(RATE_HZ / factor, abs=256)
    assert pitch_hz(changed[1000:-1000]) == pytest.approx(400, abs=5)


def test_tempo_leaves_short_clips_alone() -> None:
    short = tone(400, 0.1)
    assert change_tempo(short, 1.2) is short


def test_reverberation_starts_with_the_direct_sound() -> None:
    response = reverberation(np.random.default_rng(0))
    assert response[0] == 1
    assert RATE_HZ // 10 <= len(response) <= RATE_HZ // 2
    assert np.abs(response[1:]).max() < 1


def test_telephone_band_cuts_both_ends() -> None:
    frequencies = np.array([50.0, 1000.0, 6000.0])
    strength = Strength(telephone_share=1.0, narrow_share=0.0)
    low, middle, high = filter_gains(frequencies, strength, np.random.default_rng(0))
    assert low < 0.05 * middle
    assert high < 0.05 * middle


def test_noise_has_unit_variance_and_any_length() -> None:
    rng = np.random.default_rng(0)
    assert coloured_noise(400_000, rng).shape == (400_000,)
    assert coloured_noise(160_000, rng).std() == pytest.approx(1, abs=0.05)


def test_mu_law_keeps_the_shape_within_its_steps() -> None:
    samples = tone(300, 0.2) * np.float32(0.3)
    assert np.abs(mu_law(samples) - samples).max() < 0.02


def test_augment_is_reproducible_finite_and_bounded_in_length() -> None:
    samples = tone(200)
    first = augment(samples, np.random.default_rng(7))
    again = augment(samples, np.random.default_rng(7))
    assert np.array_equal(first, again)
    for seed in range(30):
        changed = augment(samples, np.random.default_rng(seed))
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert 0.6 * RATE_HZ < len(changed) < 2.4 * RATE_HZ


def test_normalise() -> None:
    samples = normalise(tone(200) * np.float32(0.01) + np.float32(0.5))
    assert samples.mean() == pytest.approx(0, abs=1e-4)
    assert samples.std() == pytest.approx(1, abs=1e-2)
