"""Training batches: a mixture of synthetic clips and real words, augmented, of similar length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from tools.demo_checkpoint.augmentation import augment, normalise
from tools.demo_checkpoint.pcm import RATE_HZ, Clip, Samples
from tools.demo_checkpoint.real_digits import Words, digit_text, prompt_text, sequence

SHARES = {"spoken-digits": 0.36, "prompts": 0.06, "cards": 0.32, "commands": 0.15}
SHARES |= {"digits": 0.06, "numbers": 0.05}
"""Share of each source in what is drawn."""

FAMILY_SHARES = {"piper": 0.3, "flite": 0.3, "espeak": 0.2, "festival": 0.13, "kokoro": 0.07}
"""Share of each family of synthetic voices, whatever the number of its clips."""

JOINED_SHARE = 0.25
"""Share of what is drawn that another draw follows, and so on: long audio has many speakers."""

LONGEST_S = 9.0


@dataclass
class Mixture:
    """All sources of training clips, drawn by `SHARES`."""

    clips: Sequence[Clip]
    """Synthetic clips."""
    prompts: Words | None = None
    """The Asterisk prompts' words."""
    spoken_digits: Mapping[str, Words] = field(default_factory=dict)
    """Speaker to real digits."""

    def __post_init__(self) -> None:
        self._pools: dict[str, dict[str, dict[str, list[Clip]]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(list))
        )
        for clip in self.clips:
            family = clip.voice.split("-")[0]
            voice = clip.voice if family != "espeak" else family
            self._pools[clip.group][family][voice].append(clip)
        present = {**SHARES}
        if not self.spoken_digits:
            present["digits"] += present.pop("spoken-digits")
        if self.prompts is None:
            present["numbers"] += present.pop("prompts")
        self._names, self._shares = list(present), list(present.values())

    def draw(self, rng: Random) -> tuple[str, Samples]:
        """A text and its clean samples, at times of several speakers one after the other."""
        text, samples = self._draw_one(rng)
        while rng.random() < JOINED_SHARE and len(samples) < 0.6 * LONGEST_S * RATE_HZ:
            more, following = self._draw_one(rng)
            text, samples = f"{text} {more}", _joined(samples, following, rng.uniform(0.1, 0.8))
        return text, samples

    def _draw_one(self, rng: Random) -> tuple[str, Samples]:
        source = rng.choices(self._names, self._shares)[0]
        if source == "spoken-digits":
            text = digit_text(rng)
            words = self.spoken_digits[rng.choice(sorted(self.spoken_digits))]
            return text, sequence(words, text, rng)
        if source == "prompts" and self.prompts is not None:
            text = prompt_text(rng)
            return text, sequence(self.prompts, text, rng, 0.2)
        families = self._pools[source]
        names = sorted(families)
        family = rng.choices(names, [FAMILY_SHARES[name] for name in names])[0]
        pool = families[family][rng.choice(sorted(families[family]))]
        clip = rng.choice(pool)
        if clip.duration_s < 1.6 and rng.random() < 0.2:
            other = rng.choice(pool)
            joined = _joined(clip.samples, other.samples, rng.uniform(0.05, 0.4))
            return f"{clip.text} {other.text}", joined
        return clip.text, clip.samples


def _joined(first: Samples, second: Samples, gap_s: float) -> Samples:
    return np.concatenate([first, np.zeros(int(gap_s * RATE_HZ), np.float32), second])


def batches(
    mixture: Mixture,
    seed: int,
    batch_s: float,
    longest_s: float = LONGEST_S,
    repeats: int = 1,
) -> Iterator[list[tuple[str, Samples]]]:
    """Endless batches of texts and normalised samples.

    Clips are sorted by length within pools of some sixteen batches, and a batch holds `batch_s`
    seconds, padding included; pools are shuffled batch by batch. `repeats` gives each pool out so
    many times, which saves augmentation where the caller varies the batch itself.
    """
    rng, noise = Random(seed), np.random.default_rng(seed)
    while True:
        pool: list[tuple[str, Samples]] = []
        total_s = 0.0
        while total_s < 16 * batch_s:
            text, samples = mixture.draw(rng)
            samples = normalise(augment(samples, noise))
            if 0.3 <= len(samples) / RATE_HZ <= longest_s:
                pool.append((text, samples))
                total_s += len(samples) / RATE_HZ
        pool.sort(key=lambda item: len(item[1]))
        formed: list[list[tuple[str, Samples]]] = [[]]
        for item in pool:
            if (len(formed[-1]) + 1) * len(item[1]) > batch_s * RATE_HZ and formed[-1]:
                formed.append([])
            formed[-1].append(item)
        for _ in range(repeats):
            rng.shuffle(formed)
            yield from formed
