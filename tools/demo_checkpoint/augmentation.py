"""Augmentation of clips: speed, tempo, filters, reverberation, noise, quantisation, silence.

All functions take and give float32 mono at 16 kHz and draw from a NumPy generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tools.demo_checkpoint.pcm import RATE_HZ, Samples


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How much of each augmentation; the defaults are those of training."""

    speed: tuple[float, float] = (0.88, 1.15)
    """Factor of resampling: pitch, formants and rate together."""
    tempo: tuple[float, float] = (0.85, 1.2)
    """Factor of the rate alone."""
    tempo_share: float = 0.25
    """Share of the clips whose tempo changes."""
    telephone_share: float = 0.12
    """Share of the clips cut to 300 to 3400 Hz."""
    narrow_share: float = 0.35
    """Share of the clips cut at 3.4 to 4.2 kHz, as audio from 8 kHz is."""
    reverberation_share: float = 0.25
    """Share of the clips with a reverberation of 0.1 to 0.5 s."""
    signal_to_noise_db: tuple[float, float] = (10.0, 45.0)
    """Range of the signal-to-noise ratio."""
    quantised_share: float = 0.05
    """Share of the clips through 8-bit mu-law."""
    silence_s: tuple[float, float] = (0.0, 0.35)
    """Range of the silence put before and after."""


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play faster (factor above 1) or slower by resampling; length / factor samples."""
    count = max(1, round(len(samples) / factor))
    positions = np.arange(count, dtype=np.float32) * np.float32(factor)
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)


def change_tempo(samples: Samples, factor: float) -> Samples:
    """Change the rate and keep the pitch: overlap-add of 32 ms windows at the best-matching shift.

    WSOLA (Verhelst and Roelands, 1993), with a search of 8 ms either way.
    """
    window, hop, reach = 512, 256, 128
    if len(samples) < 4 * window:
        return samples
    taper = np.hanning(window).astype(np.float32)
    count = int(len(samples) / factor) // hop
    padded = np.concatenate([np.zeros(reach, np.float32), samples])
    padded = np.concatenate([padded, np.zeros(window + 2 * reach + hop, np.float32)])
    out = np.zeros((count + 2) * hop + window, np.float32)
    weight = np.full_like(out, 1e-3)
    start = reach
    for index in range(count):
        at = index * hop
        out[at : at + window] += taper * padded[start : start + window]
        weight[at : at + window] += taper
        natural = padded[start + hop : start + hop + window]
        centre = min(int((index + 1) * hop * factor) + reach, len(padded) - window - reach)
        area = padded[centre - reach : centre + reach + window]
        if len(natural) < window:
            break
        start = centre - reach + int(np.correlate(area[::4], natural[::4], "valid").argmax()) * 4
        start = min(start, len(padded) - window - hop)
    return (out / weight)[: count * hop]


def reverberation(rng: np.random.Generator) -> Samples:
    """An impulse response: the direct sound, then noise that decays by 60 dB in 0.1 to 0.5 s."""
    decay_s = rng.uniform(0.1, 0.5)
    time_s = np.arange(int(decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail[: int(rng.uniform(0.001, 0.01) * RATE_HZ)] = 0
    direct_to_tail = 10 ** (rng.uniform(3, 16) / 20)
    tail /= np.sqrt((tail**2).sum()) * direct_to_tail
    tail[0] = 1.0
    return tail.astype(np.float32)


def filter_gains(
    frequencies_hz: NDArray[np.float64], strength: Strength, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Gains at the given frequencies: a tilt, two broad peaks or dips, a band limit at times."""
    octaves = np.log2(np.maximum(frequencies_hz, 60) / 1000)
    decibels = rng.uniform(-3.0, 3.0) * octaves
    for _ in range(2):
        centre, width = rng.uniform(-3, 3), rng.uniform(0.3, 1.2)
        decibels += rng.uniform(-5, 5) * np.exp(-(((octaves - centre) / width) ** 2))
    gains = 10 ** (decibels / 20)
    band = rng.random()
    if band < strength.telephone_share:
        low_hz, high_hz = rng.uniform(150, 350), rng.uniform(3200, 3700)
        gains /= 1 + (low_hz / np.maximum(frequencies_hz, 1)) ** 6
        gains /= 1 + (frequencies_hz / high_hz) ** 24
    elif band < strength.telephone_share + strength.narrow_share:
        gains /= 1 + (frequencies_hz / rng.uniform(3400, 4200)) ** 30
    return gains


@cache
def _noise_bank() -> list[Samples]:
    """Ten seconds each of noise whose power falls with frequency to the power of 0 to 2."""
    rng, count = np.random.default_rng(0), 10 * RATE_HZ
    bank = []
    for slope in np.linspace(0, 1, 9):
        spectrum = np.fft.rfft(rng.standard_normal(count))
        spectrum *= np.maximum(np.fft.rfftfreq(count, 1 / RATE_HZ), 40.0) ** -slope
        noise = np.fft.irfft(spectrum, count)
        bank.append((noise / noise.std()).astype(np.float32))
    return bank


@cache
def _room_bank() -> list[Samples]:
    """Fixed impulse responses to draw from."""
    rng = np.random.default_rng(0)
    return [reverberation(rng) for _ in range(200)]


def coloured_noise(count: int, rng: np.random.Generator) -> Samples:
    """Noise [count] of about unit variance, from white to brown."""
    bank = _noise_bank()
    noise = bank[rng.integers(len(bank))]
    start = int(rng.integers(len(noise)))
    repeats = -(-(start + count) // len(noise))
    return np.tile(noise, repeats)[start : start + count]


def mu_law(samples: Samples) -> Samples:
    """Quantise to 8 bits by mu-law at the clip's own peak, as telephone lines do."""
    peak = np.abs(samples).max() + 1e-9
    levels = np.log1p(255 * np.abs(samples) / peak) / np.log(256)
    levels = np.round(levels * 127) / 127
    return (np.sign(samples) * peak * (256**levels - 1) / 255).astype(np.float32)


def augment(
    samples: Samples, rng: np.random.Generator, strength: Strength | None = None
) -> Samples:
    """Apply everything at random; the result is a clip of another length and level."""
    strength = strength or Strength()
    samples = change_speed(samples, rng.uniform(*strength.speed))
    if rng.random() < strength.tempo_share:
        samples = change_tempo(samples, rng.uniform(*strength.tempo))
    before, after = (int(rng.uniform(*strength.silence_s) * RATE_HZ) for _ in range(2))
    samples = np.concatenate([np.zeros(before, np.float32), samples, np.zeros(after, np.float32)])
    level = float(samples.std() + 1e-9)
    ratio = 10 ** (-rng.uniform(*strength.signal_to_noise_db) / 20)
    noise_first = rng.random() < 0.5
    if noise_first:
        samples = samples + coloured_noise(len(samples), rng) * np.float32(level * ratio)
    size = 1 << (len(samples) + RATE_HZ // 2 - 1).bit_length()
    spectrum = np.fft.rfft(samples, size)
    spectrum *= filter_gains(np.fft.rfftfreq(size, 1 / RATE_HZ), strength, rng)
    if rng.random() < strength.reverberation_share:
        spectrum *= np.fft.rfft(_room_bank()[rng.integers(200)], size)
    samples = np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
    if not noise_first:
        level = float(samples.std() + 1e-9)
        samples = samples + coloured_noise(len(samples), rng) * np.float32(level * ratio)
    return mu_law(samples) if rng.random() < strength.quantised_share else samples


def normalise(samples: Samples) -> Samples:
    """Zero mean and unit variance, as the checkpoint's feature extractor does."""
    return ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)
