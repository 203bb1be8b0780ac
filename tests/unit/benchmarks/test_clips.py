import io
import statistics
import wave

import pytest

from benchmarks.clips import MIXES, commands, librispeech_like


@pytest.mark.parametrize("mix", MIXES)
def test_a_seed_makes_the_same_clips(mix: str):
    assert MIXES[mix](5, 1) == MIXES[mix](5, 1)
    assert MIXES[mix](5, 1) != MIXES[mix](5, 2)


@pytest.mark.parametrize("mix", MIXES)
def test_a_clip_is_as_long_as_it_says(mix: str):
    for clip in MIXES[mix](6, 0):
        with wave.open(io.BytesIO(clip.wav)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
            assert file.getnframes() == round(16_000 * clip.duration_s)
            assert any(file.readframes(file.getnframes()))


def test_sentences_spread_as_in_librispeech():
    lengths = [clip.duration_s for clip in librispeech_like(40, 0)]
    assert min(lengths) == pytest.approx(1, abs=0.01)
    assert max(lengths) == pytest.approx(35, abs=0.01)
    # The published test-clean: mean 7.4 s, median 5.8 s.
    assert statistics.mean(lengths) == pytest.approx(7.4, abs=0.5)
    assert statistics.median(lengths) == pytest.approx(5.8, abs=0.3)


def test_commands_are_short():
    lengths = sorted(clip.duration_s for clip in commands(9, 0))
    assert lengths[0] == pytest.approx(1, abs=0.01)
    assert lengths[-1] == pytest.approx(3, abs=0.01)
