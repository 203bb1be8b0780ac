from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.segmentation.levels import (
    HISTORY_FRAMES,
    first_sample,
    frame_from,
    frame_levels,
    frames_until,
    ranges,
)

RATES = st.sampled_from([1_000, 1_001, 8_000, 11_025, 16_000, 22_050, 44_100, 384_000])


@given(RATES, st.integers(0, 10**12))
def test_the_grid(rate_hz: int, frame: int):
    sample = first_sample(frame, rate_hz)
    assert frame_from(sample, rate_hz) == frames_until(sample, rate_hz) == frame
    assert frame_from(sample + 1, rate_hz) == frame + 1
    assert frames_until(sample - 1, rate_hz) == frame - 1


@given(
    st.sampled_from([1_000, 8_000, 11_025]),
    st.integers(0, 5_000),
    st.lists(st.integers(0, 1_000), max_size=5),
)
def test_levels_do_not_depend_on_the_cut(rate_hz: int, position: int, cuts: list[int]):
    noise = np.random.default_rng(position).normal(0, 0.1, 3_000).astype(np.float32)
    whole = frame_levels(noise, position=position, rate_hz=rate_hz)
    start = frame_from(position, rate_hz)
    for cut in cuts:
        piece = frame_levels(noise[cut:], position=position + cut, rate_hz=rate_hz)
        assert np.array_equal(piece, whole[frame_from(position + cut, rate_hz) - start :])
        piece = frame_levels(noise[:cut], position=position, rate_hz=rate_hz)
        assert np.array_equal(piece, whole[: len(piece)])


@pytest.mark.parametrize(
    ("amplitude", "level"), [(1.0, 160 - 6), (0.1, 120 - 6), (0.0, 0), (1e9, 255)]
)
def test_a_level_is_half_decibels_above_80_below_full_scale(amplitude: float, level: int):
    tone = np.sin(np.arange(320) * 2 * np.pi / 32).astype(np.float32) * np.float32(amplitude)
    # An offset is no sound.
    (found,) = frame_levels(tone + np.float32(0.25), position=0, rate_hz=16_000)
    assert found == pytest.approx(level, abs=1)


@given(
    st.lists(st.integers(0, 255), max_size=40),
    st.lists(st.integers(0, 255), min_size=1, max_size=40),
    st.booleans(),
)
def test_the_range_is_that_of_the_last_15_seconds(
    history: list[int], levels: list[int], is_long: bool
):
    if is_long:
        history = [*history, 7] * HISTORY_FRAMES
    before = np.array(history[-HISTORY_FRAMES:], np.uint8)
    first = len(levels) // 2
    floors, tops = ranges(before, np.array(levels, np.uint8), first=first)
    for place in range(first, len(levels)):
        counted = [*history, *levels[: place + 1]][-HISTORY_FRAMES:]
        low, high = np.quantile(counted, (0.1, 0.98), method="lower")
        assert floors[place - first] == pytest.approx(low, abs=0)
        assert tops[place - first] == high
