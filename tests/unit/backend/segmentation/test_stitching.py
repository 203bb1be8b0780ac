from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.ctc.greedy import GreedyDecoder
from asr_backend.segmentation.stitching import FILL_FRAMES, Stitcher
from tests.support.backend.cutting import cut_into_windows
from tests.support.backend.emissions import BASE_VOCABULARY, checkpoint, emissions, spell

CHECKPOINT = checkpoint()
STRIDE = CHECKPOINT.stride_samples


def local_model(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Emissions in which each frame depends only on the samples of its receptive field."""
    count = CHECKPOINT.frame_count(len(samples))
    fields = np.stack([samples[i * STRIDE : i * STRIDE + 400] for i in range(count)])
    features = np.stack([fields.sum(axis=1) * k for k in range(1, len(BASE_VOCABULARY) + 1)], 1)
    return np.sin(features).astype(np.float32)


@settings(deadline=None)
@given(
    st.integers(400, 90_000),
    st.sampled_from([(1.0, 0.2), (1.0, 0.02), (1.0, 0.49), (0.3, 0.1)]),
    st.integers(0, 3),
)
def test_windows_stitched_are_the_single_pass(
    count: int, lengths: tuple[float, float], seed: int
) -> None:
    samples = np.random.default_rng(seed).normal(size=count).astype(np.float32)
    stitcher = Stitcher(CHECKPOINT)
    parts = [
        stitcher.push(window.start_sample, local_model(window.samples))
        for window in cut_into_windows(
            [samples], max_window_s=lengths[0], overlap_s=lengths[1], stride_samples=STRIDE
        )
    ]
    stitched = np.concatenate([*parts, stitcher.finish()])
    assert len(stitched) == CHECKPOINT.frame_count(count)
    # Sums over a copy may differ in the last bit.
    assert np.allclose(stitched, local_model(samples), atol=1e-3)


def shifted(symbols: list[str], frames: int) -> list[str]:
    """The same symbols so many frames later; those at the ends must be blank."""
    return symbols[-frames:] + symbols[:-frames]


@settings(deadline=None)
@given(
    st.lists(st.text("ABCDE", min_size=1, max_size=3), min_size=25, max_size=40),
    st.integers(0, 2**31),
)
def test_no_word_is_lost_or_doubled_where_neighbours_disagree(words: list[str], seed: int) -> None:
    random = np.random.default_rng(seed)
    text = ["<pad>"] * 8
    for word in words:
        for letter in word:
            text += [letter] * random.integers(1, 3) + ["<pad>"] * 9
        text += ["|"] * random.integers(1, 7) + ["<pad>"] * 9
    stitcher, decoder = Stitcher(CHECKPOINT), GreedyDecoder(CHECKPOINT)
    window, overlap = 200, 60
    for start in range(0, len(text) - overlap, window - overlap):
        part = shifted(text, int(random.integers(-1, 3)))[start : start + window]
        decoder.push(stitcher.push(start * STRIDE, emissions(part)))
    decoder.push(stitcher.finish())
    assert decoder.finish(1e9).text.split() == words


def stitched_text(left: str, right: str, start: int, *, after_pause: bool = False) -> str:
    stitcher, decoder = Stitcher(CHECKPOINT), GreedyDecoder(CHECKPOINT)
    decoder.push(stitcher.push(0, emissions(spell(left))))
    later = emissions(spell(right))
    decoder.push(stitcher.push(start * STRIDE, later, after_pause=after_pause))
    decoder.push(stitcher.finish())
    return decoder.finish(1e9).text


def test_the_cut_avoids_a_symbol_in_the_middle() -> None:
    assert stitched_text("_A__________B_____", "___B_______C_______", 8) == "ABC"
    assert stitched_text("_A__________B_____", "_____B_____C_______", 8) == "ABC"


def test_a_word_that_one_side_hears_in_part_is_taken_from_the_other() -> None:
    # The left window ends in the middle of NO, the right one begins in the middle of GO.
    left = "G__O____ ____T__O____ ____N__"
    right = "O____ ____T__O____ ____N__O__"
    assert stitched_text(left, right, 3) == "GO TO NO"


def test_without_a_quiet_frame_the_cut_is_the_middle() -> None:
    stitcher = Stitcher(CHECKPOINT)
    stitcher.push(0, emissions(["A"] * 20))
    assert len(stitcher.push(10 * STRIDE, emissions(["B"] * 20))) == 15


def test_a_delimiter_that_both_hear_may_be_cut_and_is_kept() -> None:
    assert stitched_text("AAAAAAAA  BBBBBBBB", "AAAAAAAA  BBBBBBBB", 0) == "A B"


def test_a_cut_in_a_pause_ends_a_word() -> None:
    left, right = "_N__O_______", "______G__O__"
    assert stitched_text(left, right, 5) == "NOGO"
    assert stitched_text(left, right, 5, after_pause=True) == "NO GO"
    # The delimiter that a window wrote itself does not make an empty word.
    assert stitched_text("_N__O__ ____", "______G__O__", 5, after_pause=True) == "NO GO"


def test_a_cut_in_a_pause_takes_no_letter() -> None:
    assert stitched_text("NNNNNNNN", "NNNNNNNN", 4, after_pause=True) == "N"


def test_silence_that_no_window_has_is_a_word_s_end() -> None:
    assert stitched_text("_N__O", "G__O_", 40, after_pause=True) == "NO GO"
    assert stitched_text("_N__O_", "_G__O_", 7, after_pause=True) == "NO GO"


def test_frames_after_silence_keep_their_time() -> None:
    stitcher = Stitcher(CHECKPOINT)
    stitcher.push(0, emissions(spell("_N__O_")))
    first = stitcher.push(50 * STRIDE, emissions(spell("_G__O_")), after_pause=True)
    assert (len(first), len(stitcher.finish())) == (50, 6)


def test_a_gap_elsewhere_is_a_defect() -> None:
    stitcher = Stitcher(CHECKPOINT)
    stitcher.push(0, emissions(["A"] * 20))
    with pytest.raises(ValueError, match="starts at frame 21, the one before ends at 20"):
        stitcher.push(21 * STRIDE, emissions(["A"] * 20))


def test_nothing_pushed_gives_no_frames() -> None:
    assert Stitcher(CHECKPOINT).finish().shape == (0, len(BASE_VOCABULARY))


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 4_000), st.integers(0, 3))
def test_long_silence_is_filled_in_parts_as_at_once(before: int, silence: int, seed: int) -> None:
    random = np.random.default_rng(seed)

    def frames(count: int) -> npt.NDArray[np.float32]:
        return np.log(random.dirichlet(np.ones(len(BASE_VOCABULARY)), count)).astype(np.float32)

    first, second = frames(before), frames(5)
    start = (before + silence) * STRIDE

    def stitched(*, in_parts: bool) -> list[npt.NDArray[np.float32]]:
        stitcher = Stitcher(CHECKPOINT)
        parts = [stitcher.push(0, first)]
        if in_parts:
            parts += stitcher.fill(start)
        parts += [stitcher.push(start, second, after_pause=True), stitcher.finish()]
        return parts

    parts = stitched(in_parts=True)
    assert max(map(len, parts)) <= 2 * FILL_FRAMES
    assert np.array_equal(np.concatenate(parts), np.concatenate(stitched(in_parts=False)))
