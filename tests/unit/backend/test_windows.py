from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.windows import Window, windows

STRIDE = 320
LONGEST = 16_000
OVERLAP = 3_200


def cut(samples: npt.NDArray[np.float32], block: int = 5_000) -> list[Window]:
    blocks = (samples[i : i + block] for i in range(0, len(samples), block))
    return list(windows(blocks, max_window_s=1, overlap_s=0.2, stride_samples=STRIDE))


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


@given(st.lists(st.floats(0.2, 0.9), min_size=4, max_size=40), st.integers(0, 2**31))
def test_cuts_lie_in_pauses_and_both_sides_hear_one(spoken_s: list[float], seed: int) -> None:
    random = np.random.default_rng(seed)
    pauses, parts, end = [], [], 0
    for seconds in spoken_s:
        word = random.normal(scale=0.1, size=round(seconds * 16_000)).astype(np.float32)
        pause = np.zeros(random.integers(6_400, 12_800), np.float32)
        pauses.append((end + len(word), end + len(word) + len(pause)))
        parts += [word, pause]
        end += len(word) + len(pause)
    samples = np.concatenate(parts)
    made = list(windows([samples], max_window_s=4, overlap_s=1, stride_samples=STRIDE))
    for one, other in pairwise(made):
        assert other.start_sample % STRIDE == 0
        assert np.array_equal(
            one.samples, samples[one.start_sample : one.start_sample + len(one.samples)]
        )
        assert 32_000 <= len(one.samples) <= 64_000
        shared = (other.start_sample, one.start_sample + len(one.samples))
        assert shared[1] - shared[0] >= 4_800
        if not other.last:
            assert shared[1] - shared[0] <= 6_400 + STRIDE
        in_pause = any(start <= shared[0] and shared[1] <= end for start, end in pauses)
        # The last window may have been moved to begin earlier, in a pause by chance.
        assert other.after_pause == in_pause or (other.last and not other.after_pause)
        assert in_pause or other.last
    assert made[-1].start_sample + len(made[-1].samples) == len(samples)


def test_no_samples_no_windows() -> None:
    assert cut(np.zeros(0, np.float32)) == []


def test_short_audio_is_one_window_as_it_is() -> None:
    (only,) = cut(np.ones(10, np.float32))
    assert (only.index, only.start_sample, only.last, len(only.samples)) == (0, 0, True, 10)


class Source:
    def __init__(self) -> None:
        self.pulled = 0
        self.closed = False

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        try:
            while True:
                self.pulled += 1
                yield np.zeros(4_000, np.float32)
        finally:
            self.closed = True


def test_blocks_are_pulled_as_needed_and_closed() -> None:
    source = Source()
    parts: Any = windows(source.blocks(), max_window_s=1, overlap_s=0.2, stride_samples=STRIDE)
    assert source.pulled == 0
    next(parts)
    assert source.pulled == 5
    for _ in range(50):
        next(parts)
    assert source.pulled * 4_000 <= 16_000 + 50 * 12_800 + 8_000
    parts.close()
    assert source.closed


def test_windows_do_not_keep_each_other_alive() -> None:
    parts = windows(Source().blocks(), max_window_s=1, overlap_s=0.2, stride_samples=STRIDE)
    for _ in range(3):
        samples = next(parts).samples
        owner = samples if samples.base is None else samples.base
        assert owner.nbytes == samples.nbytes


@pytest.mark.parametrize(("longest_s", "overlap_s"), [(1, 0), (1, 0.019), (1, 0.5), (0.01, 0.02)])
def test_lengths_that_do_not_fit(longest_s: float, overlap_s: float) -> None:
    with pytest.raises(ValueError, match=r"overlap_s must be from 0\.02"):
        next(windows([], max_window_s=longest_s, overlap_s=overlap_s, stride_samples=STRIDE))
