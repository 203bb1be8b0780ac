from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from asr_backend.acoustic.features import normalize


def in_double(window: np.ndarray) -> np.ndarray:
    wide = window.astype(np.float64)
    return (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)


@pytest.mark.parametrize("offset", [0.0, 0.02, -30.0])
@pytest.mark.parametrize("loudness", [1e-30, 1e-4, 0.1, 1e15, 1e25, 1e37])
@pytest.mark.parametrize("length", [400, 320_001])
def test_samples_are_normalised_as_in_double_precision(
    length: int, loudness: float, offset: float
) -> None:
    noise = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    window = noise * np.float32(loudness) + np.float32(offset)
    out = np.full(length, np.nan, np.float32)
    normalize(window, out)
    assert np.abs(out - in_double(window)).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 0.3, -3e38, np.finfo(np.float32).max])
def test_constant_samples_are_zero(value: float) -> None:
    window, out = np.full(16_000, value, np.float32), np.empty(16_000, np.float32)
    normalize(window, out)
    assert np.abs(out).max() < 1e-3


def test_nothing_as_long_as_the_window_is_allocated() -> None:
    window = np.random.default_rng(0).standard_normal(320_000).astype(np.float32)
    out = np.empty_like(window)
    tracemalloc.start()
    normalize(window, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < window.nbytes / 4
