from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.segmentation.endpointer import (
    CONTEXT_FRAMES,
    Cut,
    Endpointer,
    EndpointerSettings,
    EndpointerState,
)
from asr_backend.segmentation.levels import (
    HISTORY_FRAMES,
    first_sample,
    frame_from,
    frames_until,
)

RATE_HZ = 16_000
QUIET, LOUD = 20, 100
RULES = EndpointerSettings()

Final = tuple[int, int, str]


def frames(*runs: tuple[int, int]) -> np.ndarray:
    """Levels of runs of (level, frames)."""
    return np.concatenate([np.full(count, level, np.uint8) for level, count in runs])


def talking(count: int) -> np.ndarray:
    """Levels of speech without a pause: they change, as those of noise do not."""
    return np.tile(np.array([80, 115], np.uint8), count // 2)


def say(start: int, end: int) -> int:
    """A number that stands for the words of these samples."""
    return zlib.crc32(f"{start}:{end}".encode())


class Stream:
    """A caller that looks at levels, and a service that keeps nothing."""

    def __init__(self, levels: np.ndarray, *, rate_hz: int = RATE_HZ, is_speech: bool = True):
        self.levels, self.rate_hz = levels, rate_hz
        self.is_speech = is_speech
        self.total = first_sample(len(levels), rate_hz)

    def look(
        self,
        state: EndpointerState,
        end: int,
        rules: EndpointerSettings = RULES,
        *,
        is_last: bool = False,
        stop_after: int = 10**9,
    ) -> tuple[EndpointerState, list[Final]]:
        """One look at the samples up to `end`."""
        first = frame_from(state.position, self.rate_hz)
        points = Endpointer(
            state,
            levels=self.levels[first : max(first, frames_until(end, self.rate_hz))],
            end=end,
            rate_hz=self.rate_hz,
            settings=rules,
        )
        finals: list[Final] = []
        while len(finals) < stop_after and (cut := points.next_cut()) is not None:
            finals += self._close(points, cut)
        if is_last:
            if (cut := points.finish()) is not None:
                finals += self._close(points, cut)
            points.end_stream()
        return points.state(), finals

    def _close(self, points: Endpointer, cut: Cut) -> list[Final]:
        end = cut.end
        has_words = self.is_speech or say(cut.start, end) % 7 > 0
        if cut.in_speech and has_words:
            length = cut.end - cut.start
            end -= say(cut.start, end) % (length // 2)
            end = first_sample(frame_from(end, self.rate_hz), self.rate_hz)
        points.close(cut, end=end, has_words=has_words)
        return [(cut.start, end, cut.reason)] if has_words else []

    def run(
        self, ends: Sequence[int] = (), rules: EndpointerSettings = RULES, seed: int | None = None
    ) -> list[Final]:
        """All finals; with a seed, looks are dropped, repeated and stopped early."""
        rng = random.Random(seed) if seed is not None else None
        state, finals = EndpointerState(), []
        for end in sorted({*ends, self.total}):
            is_last = end == self.total
            while True:
                stop_after = rng.choice([1, 10**9]) if rng and not is_last else 10**9
                state_after, found = self.look(
                    state, max(end, state.position), rules, is_last=is_last, stop_after=stop_after
                )
                if rng and not is_last and rng.random() < 0.3:
                    break  # The answer is lost.
                if rng and rng.random() < 0.3:
                    again = self.look(
                        state,
                        max(end, state.position),
                        rules,
                        is_last=is_last,
                        stop_after=stop_after,
                    )
                    assert again == (state_after, found)
                assert state_after.position >= state.position
                state = state_after
                finals += found
                if not (found and stop_after == 1):
                    break
        return finals


def seconds(finals: Sequence[Final]) -> list[tuple[float, float, str]]:
    return [(start / RATE_HZ, end / RATE_HZ, reason) for start, end, reason in finals]


def test_a_pause_ends_a_segment_and_each_side_keeps_a_fifth_of_a_second():
    levels = frames((QUIET, 20), (LOUD, 50), (QUIET, 40), (LOUD, 30), (QUIET, 60))
    found = seconds(Stream(levels).run())
    # The first one begins with the stream's noise: silence was not known yet.
    assert found == [(0.0, 1.6, "pause"), (2.0, 3.0, "pause")]


def test_noise_before_the_first_word_is_dropped_once_silence_is_known():
    levels = frames((QUIET, 200), (LOUD, 50), (QUIET, 60))
    assert seconds(Stream(levels).run()) == [(3.8, 5.2, "pause")]


def test_where_a_pause_is_short_each_side_keeps_half():
    rules = EndpointerSettings(endpoint_silence_s=0.2)
    levels = frames((0, 20), (LOUD, 50), (QUIET, 10), (LOUD, 30), (QUIET, 60))
    found = seconds(Stream(levels).run(rules=rules))
    assert found == [(0.2, 1.5, "pause"), (1.5, 2.3, "pause")]


def test_a_pause_shorter_than_the_endpoint_s_does_not_end_a_segment():
    levels = frames((0, 20), (LOUD, 50), (QUIET, 24), (LOUD, 30), (QUIET, 60))
    assert len(Stream(levels).run()) == 1
    levels = frames((0, 20), (LOUD, 50), (QUIET, 25), (LOUD, 30), (QUIET, 60))
    assert len(Stream(levels).run()) == 2


def test_the_end_makes_everything_final_but_a_long_silence():
    levels = frames((0, 20), (LOUD, 50), (QUIET, 8))
    assert seconds(Stream(levels).run()) == [(0.2, 1.56, "end")]
    levels = frames((0, 20), (LOUD, 50), (QUIET, 20))
    assert seconds(Stream(levels).run()) == [(0.2, 1.6, "end")]
    assert Stream(frames((0, 100))).run() == []


def test_behind_an_end_the_stream_goes_on():
    stream = Stream(frames((0, 20), (LOUD, 100), (QUIET, 50)))
    # In the middle of a frame.
    middle = first_sample(60, RATE_HZ) + 100
    state, first = stream.look(EndpointerState(), middle, is_last=True)
    assert (state.position, state.is_open) == (middle, False)
    _, rest = stream.look(state, stream.total)
    assert first == [(first_sample(10, RATE_HZ), middle, "end")]
    assert rest == [(middle, first_sample(130, RATE_HZ), "pause")]


def test_a_long_segment_is_cut_in_its_best_pause():
    rules = EndpointerSettings(max_segment_s=6)
    levels = frames(
        *((0, 20), (LOUD, 180), (QUIET, 12), (LOUD, 40), (QUIET, 16), (LOUD, 100), (QUIET, 50))
    )
    found = seconds(Stream(levels).run(rules=rules))
    assert found == [(0.2, 5.2, "length"), (5.2, 7.56, "pause")]


def test_without_a_pause_it_is_cut_in_speech_and_the_next_one_begins_there():
    rules = EndpointerSettings(max_segment_s=4)
    finals = Stream(np.concatenate([frames((0, 20)), talking(1000)])).run(rules=rules)
    assert len(finals) > 4
    assert {reason for _, _, reason in finals[:-1]} == {"length"}
    for (_, end, _), (start, _, _) in pairwise(finals):
        assert start == end
    assert all((end - start) / RATE_HZ <= 4 for start, end, _ in finals)


def test_audio_without_words_teaches_what_silence_is():
    # Noise of a narrow range, for minutes: energy alone shows no pause in it.
    rng = np.random.default_rng(1)
    levels = rng.integers(40, 60, 3000).astype(np.uint8)

    class Deaf(Stream):
        heard = 0

        def _close(self, points: Endpointer, cut: Cut) -> list[Final]:
            self.heard += 1
            points.close(cut, end=cut.end, has_words=False)
            return []

    stream = Deaf(levels)
    state, _ = stream.look(EndpointerState(), stream.total)
    assert stream.heard == 1
    assert not state.is_open
    assert state.position == first_sample(3000 - CONTEXT_FRAMES, RATE_HZ)
    # Words above it are found at once.
    stream.levels = np.concatenate([levels, frames((120, 40), (50, 40))])
    state, finals = Stream(stream.levels).look(state, first_sample(3080, RATE_HZ))
    assert seconds(finals) == [(59.8, 61.0, "pause")]


def test_steady_noise_opens_no_segment_and_words_in_it_do():
    rng = np.random.default_rng(1)
    noise = rng.integers(60, 66, 1000).astype(np.uint8)
    stream = Stream(np.concatenate([noise, frames((90, 30)), noise]))
    # Before the first second is over, nobody knows.
    state, finals = stream.look(EndpointerState(), first_sample(40, RATE_HZ))
    assert (state.is_open, state.is_unsure, finals) == (True, True, [])
    state, finals = stream.look(state, first_sample(1000, RATE_HZ))
    assert (state.is_open, finals) == (False, [])
    assert state.position == first_sample(1000 - CONTEXT_FRAMES, RATE_HZ)
    assert seconds(stream.run()) == [(19.8, 20.8, "pause")]
    # The noise grows by 20 dB: that sounds like speech until the old level is forgotten.
    louder = Stream(np.concatenate([noise, noise + np.uint8(40), noise + np.uint8(40)]))
    state, finals = louder.look(EndpointerState(), louder.total)
    assert (state.is_open, len(finals)) == (False, 1)


def test_silence_stays_known_when_the_words_have_left_the_history():
    levels = frames((QUIET, 50), (LOUD, 50), (QUIET, 3 * HISTORY_FRAMES), (LOUD, 50), (QUIET, 30))
    finals = seconds(Stream(levels).run())
    assert finals[1:] == [(46.8, 48.2, "pause")]


def test_digital_silence_opens_no_segment():
    state, finals = Stream(frames((0, 3000))).look(EndpointerState(), 3000 * 320)
    assert (state.is_open, finals) == (False, [])


def test_a_lower_maximum_takes_effect_at_the_next_look():
    stream = Stream(np.concatenate([frames((0, 20)), talking(700)]))
    state, finals = stream.look(EndpointerState(), first_sample(600, RATE_HZ))
    assert not finals
    rules = EndpointerSettings(max_segment_s=3)
    _, finals = stream.look(state, first_sample(700, RATE_HZ), rules)
    assert len(finals) >= 3
    assert all((end - start) / RATE_HZ <= 3 for start, end, _ in finals)


def test_a_caller_that_keeps_too_little_gets_no_error():
    stream = Stream(frames((0, 20), (LOUD, 100)))
    state, _ = stream.look(EndpointerState(), first_sample(100, RATE_HZ))
    after, finals = stream.look(state, first_sample(60, RATE_HZ), is_last=True)
    assert finals == [(first_sample(10, RATE_HZ), first_sample(60, RATE_HZ), "end")]
    assert after.position == first_sample(60, RATE_HZ)


@st.composite
def streams(draw: st.DrawFn, min_noise: int = 0) -> Stream:
    runs = draw(
        st.lists(st.tuples(st.integers(0, 140), st.integers(1, 120)), min_size=1, max_size=25)
    )
    noise = draw(st.integers(min_noise, 30))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    levels = frames(*runs) + rng.integers(0, noise + 1, sum(count for _, count in runs))
    return Stream(
        levels.astype(np.uint8),
        rate_hz=draw(st.sampled_from([1_000, 8_000, 11_025, 16_000, 44_100])),
        is_speech=draw(st.booleans()),
    )


rules_of_a_stream = st.builds(
    EndpointerSettings,
    endpoint_silence_s=st.sampled_from([0.2, 0.3, 0.5, 1.0]),
    max_segment_s=st.sampled_from([2.0, 3.33, 15.0]),
)


@settings(max_examples=300)
@given(streams(), rules_of_a_stream, st.lists(st.floats(0, 1), max_size=30), st.integers(0, 999))
def test_finals_do_not_depend_on_the_looks(
    stream: Stream, rules: EndpointerSettings, shares: list[float], seed: int
):
    whole = stream.run(rules=rules)
    ends = [round(share * stream.total) for share in shares]
    assert stream.run(ends, rules) == whole
    assert stream.run(ends, rules, seed=seed) == whole
    for (_, end, _), (start, _, _) in pairwise(whole):
        assert start >= end
    for start, end, _ in whole:
        assert 0 < end - start <= rules.max_segment_s * stream.rate_hz + 1


@settings(max_examples=100)
@given(streams(min_noise=20), rules_of_a_stream)
def test_what_is_loud_is_in_a_segment(stream: Stream, rules: EndpointerSettings):
    """Nothing is lost: where no audio is steady, the loudest frames lie in a segment."""
    stream.is_speech = True
    whole = stream.run(rules=rules)
    most = max(stream.levels)
    for frame in np.flatnonzero(stream.levels == most) if most > 10 else ():
        start = first_sample(frame, stream.rate_hz)
        assert any(first <= start < end for first, end, _ in whole)


@settings(max_examples=50)
@given(streams())
def test_a_look_at_more_than_a_segment_consumes_something(stream: Stream):
    state = EndpointerState()
    rules = EndpointerSettings(max_segment_s=2)
    while state.position + 2.02 * stream.rate_hz < stream.total:
        before = state.position
        end = min(stream.total, before + round(2.1 * stream.rate_hz))
        state, _ = stream.look(state, end, rules, stop_after=1)
        assert state.position > before
