"""The clips that every system gets: real speech, of seeded lengths."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

from tools.recordings import read_pcm, transcripts, wav

RATE_HZ = 16_000
_PAUSE_S = 0.2

# Of LibriSpeech's test-clean: half of its utterances are shorter than 5.8 s, their mean is 7.4 s.
_LIBRISPEECH = NormalDist(mu=1.758, sigma=0.7)
_LIBRISPEECH_S = (1.0, 35.0)
_COMMAND_S = (1.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One utterance.

    Attributes:
        wav: a WAV file: 16-bit PCM, mono, 16 kHz.
        duration_s: its length in seconds.
    """

    wav: bytes
    duration_s: float


def librispeech_like(count: int, seed: int) -> list[Clip]:
    """Clips of 1 to 35 s whose lengths spread as those of read sentences do.

    The lengths are the quantiles of a log-normal distribution, so that a few clips stand for it;
    the shortest and the longest are the ends of the range.
    """
    spread = [_LIBRISPEECH.inv_cdf((index + 0.5) / count) for index in range(count)]
    shortest, longest = _LIBRISPEECH_S
    lengths = [min(max(math.exp(value), shortest), longest) for value in spread]
    lengths[0], lengths[-1] = shortest, longest
    return _clips(lengths, seed)


def commands(count: int, seed: int) -> list[Clip]:
    """Clips of 1 to 3 s, evenly spread."""
    shortest, longest = _COMMAND_S
    step = (longest - shortest) / max(1, count - 1)
    return _clips([shortest + step * index for index in range(count)], seed)


MIXES: Mapping[str, Callable[[int, int], list[Clip]]] = {
    "librispeech": librispeech_like,
    "commands": commands,
}
"""Makers of clips by name, called with a count and a seed."""


def _clips(lengths_s: list[float], seed: int) -> list[Clip]:
    """Speech of the given lengths, give or take 10 ms, in shuffled order."""
    generator = random.Random(seed)
    paths = sorted(path for path, _ in transcripts())
    speech = bytes(2 * round(_PAUSE_S * RATE_HZ)).join(read_pcm(path)[0] for path in paths)
    generator.shuffle(lengths_s)
    clips = []
    for length_s in lengths_s:
        # Lengths are not multiples of the network's stride, as they are not in recordings.
        samples = round(length_s * RATE_HZ) - generator.randrange(160)
        start = generator.randrange(len(speech) // 2)
        pcm = (speech[2 * start :] + speech * (2 * samples // len(speech) + 1))[: 2 * samples]
        clips.append(Clip(wav=wav(pcm, RATE_HZ), duration_s=samples / RATE_HZ))
    return clips
