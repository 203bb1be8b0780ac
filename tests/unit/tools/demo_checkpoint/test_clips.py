from argparse import Namespace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tools.demo_checkpoint.batches import Mixture, batches
from tools.demo_checkpoint.evaluation_sets import evaluation_sets
from tools.demo_checkpoint.pcm import RATE_HZ, Clip, read_shards, trim, write_shard
from tools.demo_checkpoint.real_digits import digit_text, judging_clips, sequence

TEST_DATA = Path(__file__).parents[3] / "data"


def noise(duration_s: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(int(duration_s * RATE_HZ))
    return (0.1 * samples).astype(np.float32)


def test_trim_leaves_a_margin_around_the_sound() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    trimmed = trim(np.concatenate([silence, noise(0.5), silence]))
    assert len(trimmed) / RATE_HZ == pytest.approx(0.56, abs=0.021)


def test_shards_give_back_what_was_written(tmp_path: Path) -> None:
    clips = [Clip("cards", "flite-rms", "ten of clubs", noise(0.3))]
    clips.append(Clip("digits", "espeak", "five five", noise(0.2, 1)))
    assert write_shard(tmp_path, "one", clips) == pytest.approx(0.5)
    read = read_shards(tmp_path)
    assert [(c.group, c.voice, c.text) for c in read] == [(c.group, c.voice, c.text) for c in clips]
    for before, after in zip(clips, read, strict=True):
        peak = np.abs(before.samples).max()
        assert np.abs(after.samples - before.samples * 0.9 / peak).max() < 1e-4


def test_recordings_have_the_words_of_the_transcripts() -> None:
    folders = Namespace(recordings=TEST_DATA, synthetic=None, spoken_digits=None)
    clips = evaluation_sets(folders)["recordings"]
    assert len(clips) == 6
    assert {c.text for c in clips} >= {"ten of clubs", "five five", "go forward ten meters"}
    assert sum(c.duration_s for c in clips) == pytest.approx(12.44, abs=0.01)
    assert {path.name for path in TEST_DATA.glob("*.wav")} == {
        line.split("\t")[0] for line in (TEST_DATA / "transcripts.tsv").read_text().splitlines()[1:]
    }


def digit_words() -> dict[str, list[np.ndarray]]:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    return {name: [noise(0.3, i), noise(0.4, i + 10)] for i, name in enumerate(names)}


def test_sequence_joins_words_with_gaps() -> None:
    joined = sequence(digit_words(), "five five nine", Random(0), longest_gap_s=0.3)
    assert 0.9 * RATE_HZ <= len(joined) <= 2.1 * RATE_HZ


def test_judging_clips_are_singles_and_sequences() -> None:
    clips = judging_clips(digit_words(), "someone", singles_each=2, sequences=5)
    assert [c.group for c in clips].count("single") == 20
    assert all(2 <= len(c.text.split()) <= 5 for c in clips if c.group == "sequence")


def test_batches_keep_to_their_seconds() -> None:
    texts = {"cards": "ten of clubs", "commands": "go up", "digits": "two", "numbers": "twelve"}
    clips = [Clip(g, "flite-rms", t, noise(0.8, i)) for i, (g, t) in enumerate(texts.items())]
    mixture = Mixture(clips, None, {"someone": digit_words()})
    stream = batches(mixture, seed=0, batch_s=6.0)
    said = set()
    for _ in range(20):
        batch = next(stream)
        said |= {text for text, _ in batch}
        padded_s = len(batch) * max(len(samples) for _, samples in batch) / RATE_HZ
        assert len(batch) == 1 or padded_s <= 6.0
    assert said >= set(texts.values())


def test_digit_text_has_one_to_five_digits() -> None:
    rng = Random(0)
    assert {len(digit_text(rng).split()) for _ in range(300)} == {1, 2, 3, 4, 5}
