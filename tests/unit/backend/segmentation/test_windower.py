from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr_backend.segmentation.windower import Window, Windower
from tests.support.backend.cutting import cut_into_windows

STRIDE = 320
LONGEST = 16_000
OVERLAP = 3_200
EMPTY = np.zeros(0, np.float32)


def cut(samples: npt.NDArray[np.float32], block: int = 5_000) -> list[Window]:
    blocks = (samples[i : i + block] for i in range(0, len(samples), block))
    return cut_into_windows(blocks, max_window_s=1, overlap_s=0.2)


def spoken(spoken_s: list[float], seed: int) -> npt.NDArray[np.float32]:
    """Noise of these lengths in seconds, each followed by a silence of 0.4 to 1.6 s."""
    random = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float32]] = []
    for seconds in spoken_s:
        parts.append(random.normal(scale=0.1, size=round(seconds * 16_000)).astype(np.float32))
        parts.append(np.zeros(random.integers(6_400, 25_600), np.float32))
    return np.concatenate(parts)


@given(st.integers(1, 120_000), st.sampled_from([1, 319, 5_000, 40_000, 200_000]))
def test_windows_cover_the_audio_on_the_grid(count: int, block: int) -> None:
    samples = np.arange(count, dtype=np.float32)
    if block == 1:
        samples = samples[:2_000]
    parts = cut(samples, block)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    for part in parts:
        assert part.start_sample % STRIDE == 0
        end = part.start_sample + len(part.samples)
        assert np.array_equal(part.samples, samples[part.start_sample : end])
        assert part.samples.dtype == np.float32
        assert not part.after_pause
    assert parts[0].start_sample == 0
    assert parts[-1].start_sample + len(parts[-1].samples) == len(samples)
    assert all(len(part.samples) == LONGEST for part in parts[:-1])
    for one, other in pairwise(parts):
        assert other.start_sample <= one.start_sample + LONGEST - OVERLAP
    if len(parts) > 1:
        assert LONGEST / 2 <= len(parts[-1].samples) <= LONGEST
    assert (len(samples) <= LONGEST) == (len(parts) == 1)


# Here nearly a tenth of a window's frames are silent. So the 0.1 quantile of its levels is between
# silence and speech, and a frame with a few samples of speech counts as silent.
@example([4.1, 4.1, 3.5, 4.3], 9431)
@given(st.lists(st.floats(0.2, 5), min_size=4, max_size=20), st.integers(0, 2**31))
def test_cuts_lie_in_pauses_and_only_silence_is_left_out(spoken_s: list[float], seed: int) -> None:
    samples = spoken(spoken_s, seed)
    made = cut_into_windows([samples], max_window_s=8, overlap_s=1)
    covered = np.zeros(len(samples), bool)
    for window in made:
        assert window.start_sample % STRIDE == 0
        part = slice(window.start_sample, window.start_sample + len(window.samples))
        assert np.array_equal(window.samples, samples[part])
        assert min(32_000, len(samples)) <= len(window.samples) <= 128_000
        covered[part] = True
    assert not samples[~covered].any()
    for one, other in pairwise(made):
        end = one.start_sample + len(one.samples)
        if other.after_pause:
            # At least 0.1 s of silence is on either side of the cut, to within a frame of 20 ms:
            # silence is known by whole frames, by their level.
            assert not samples[end - 1_280 : other.start_sample + 1_280].any()
            assert end - 3_200 - STRIDE <= other.start_sample
        else:
            assert other.start_sample <= end - 16_000 or other.last
    assert made[-1].start_sample + len(made[-1].samples) == len(samples)


def test_phrases_with_pauses_between_them_are_a_window_each() -> None:
    random = np.random.default_rng(0)
    phrase, pause = random.normal(scale=0.1, size=48_000).astype(np.float32), np.zeros(16_000)
    parts = [phrase, pause.astype(np.float32)] * 8
    made = cut_into_windows(parts)
    # The rest is one window as soon as it fits into one.
    assert [round(part.start_sample / 16_000, 1) for part in made] == [0, 3.9, 7.9, 11.9, 15.9]
    assert [round(len(part.samples) / 16_000, 1) for part in made] == [3.1, 3.2, 3.2, 3.2, 16.1]


def test_no_samples_no_windows() -> None:
    assert cut(np.zeros(0, np.float32)) == []


def test_short_audio_is_one_window_as_it_is() -> None:
    (only,) = cut(np.ones(10, np.float32))
    assert (only.index, only.start_sample, only.last, len(only.samples)) == (0, 0, True, 10)


@given(
    st.lists(st.floats(0.05, 12), min_size=1, max_size=8),
    st.integers(0, 2**31),
    st.lists(st.sampled_from([0, 1, 319, 5_000, 16_000, 128_001, 400_000]), min_size=1),
)
def test_cuts_are_the_same_however_the_blocks_are_split(
    spoken_s: list[float], seed: int, lengths: list[int]
) -> None:
    samples = spoken(spoken_s, seed)
    blocks = []
    start = 0
    for length in lengths:
        blocks.append(samples[start : start + length])
        start += length
    blocks.append(samples[start:])
    whole, split = (
        cut_into_windows(given, max_window_s=8, overlap_s=1) for given in ([samples], blocks)
    )
    assert len(whole) == len(split)
    for one, other in zip(whole, split, strict=True):
        assert replace(one, samples=EMPTY) == replace(other, samples=EMPTY)
        assert np.array_equal(one.samples, other.samples)


def test_a_window_is_given_as_soon_as_it_is_known_not_to_be_the_last() -> None:
    windower = Windower(max_window_s=1, overlap_s=0.2, stride_samples=STRIDE)
    noise = np.random.default_rng(0).normal(scale=0.1, size=200_000).astype(np.float32)
    assert windower.push(noise[:LONGEST]) == []
    (first,) = windower.push(noise[LONGEST : LONGEST + 1])
    assert len(first.samples) == LONGEST
    for start in range(LONGEST + 1, len(noise), 4_000):
        windower.push(noise[start : start + 4_000])
        assert len(windower._held) + sum(map(len, windower._waiting)) <= 2 * LONGEST + 4_000


def test_windows_do_not_keep_each_other_alive() -> None:
    for window in cut(np.zeros(100_000, np.float32))[:-1]:
        owner = window.samples if window.samples.base is None else window.samples.base
        assert owner.nbytes == window.samples.nbytes


@pytest.mark.parametrize(("longest_s", "overlap_s"), [(1, 0), (1, 0.019), (1, 0.5), (0.01, 0.02)])
def test_lengths_that_do_not_fit(longest_s: float, overlap_s: float) -> None:
    with pytest.raises(ValueError, match=r"overlap_s must be from 0\.02"):
        Windower(max_window_s=longest_s, overlap_s=overlap_s, stride_samples=STRIDE)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 200_000)), min_size=1, max_size=5),
    st.integers(1, 40_000),
    st.integers(0, 1),
)
def test_silence_that_is_skipped_is_in_no_window_and_all_else_is_in_one(
    runs: list[tuple[int, int]], rest: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    windower = Windower(max_window_s=1, overlap_s=0.2, stride_samples=STRIDE)
    whole = [EMPTY]
    windows = []
    for count, silence in runs:
        sound = random.normal(size=count).astype(np.float32)
        windows += windower.push(sound)
        windows += windower.skip(silence)
        whole += [sound, np.zeros(silence, np.float32)]
    sound = random.normal(size=rest).astype(np.float32)
    windows += windower.push(sound)
    last = windower.finish()
    assert last is not None
    windows.append(last)
    samples = np.concatenate([*whole, sound])

    assert [window.index for window in windows] == list(range(len(windows)))
    assert [window.last for window in windows] == [False] * (len(windows) - 1) + [True]
    assert windows[-1].end_sample == len(samples)
    covered = np.zeros(len(samples), bool)
    end = 0
    for window in windows:
        assert window.start_sample % STRIDE == 0
        assert 0 < len(window.samples) <= LONGEST
        part = slice(window.start_sample, window.end_sample)
        assert np.array_equal(window.samples, samples[part])
        assert window.after_pause or window.start_sample <= end
        covered[part] = True
        end = window.end_sample
    assert not samples[~covered].any()
    # Each side of a silence keeps 0.1 s of it, and less than a second is no cut.
    skipped = [silence for _, silence in runs if silence >= LONGEST]
    uncovered = sum(silence - 2 * 1_600 - STRIDE for silence in skipped)
    assert (~covered).sum() >= uncovered


def test_a_recording_that_begins_late_is_one_window() -> None:
    windower = Windower(max_window_s=20, overlap_s=2, stride_samples=STRIDE)
    assert windower.skip(3_600 * 16_000 + 7) == []
    assert windower.push(np.ones(16_000, np.float32)) == []
    window = windower.finish()
    assert window is not None
    assert window.is_only
    assert window.after_pause
    assert window.end_sample == 3_601 * 16_000 + 7
    assert 16_000 + 1_600 <= len(window.samples) < 16_000 + 1_600 + STRIDE
