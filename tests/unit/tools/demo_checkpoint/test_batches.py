from random import Random

import numpy as np

from tools.demo_checkpoint.batches import LONGEST_S, Mixture
from tools.demo_checkpoint.pcm import RATE_HZ, Clip


def test_draws_are_joined_at_times_with_a_pause_between_them():
    clips = [
        Clip(group, f"flite-{group}", group, np.ones(2 * RATE_HZ, np.float32))
        for group in ("cards", "commands", "digits", "numbers")
    ]
    mixture = Mixture(clips)
    rng = Random(0)
    drawn = [mixture.draw(rng) for _ in range(400)]
    joined = [(text, samples) for text, samples in drawn if " " in text]
    assert 60 < len(joined) < 140
    for text, samples in joined:
        words = len(text.split())
        assert np.count_nonzero(samples) == 2 * RATE_HZ * words
        assert 0.1 * (words - 1) <= (samples == 0).sum() / RATE_HZ <= 0.8 * (words - 1)
    assert max(len(samples) for _, samples in drawn) <= LONGEST_S * RATE_HZ
