"""Real recordings for training: the Asterisk prompts' numbers and a folder of spoken digits.

The prompts (Debian's `asterisk-core-sounds-en-g722`, one woman) and the spoken digits (Free Spoken
Digit Dataset, files `{digit}_{speaker}_{index}.wav`, 8 kHz) are single words; `sequence` joins
words of one speaker into an utterance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from random import Random

import numpy as np

from tools.demo_checkpoint.grammar import DIGITS, TEENS, TENS, cardinal, sample
from tools.demo_checkpoint.pcm import RATE_HZ, Clip, Samples, read_audio, trim

Words = dict[str, list[Samples]]
"""Recordings of each word by one speaker."""


def read_prompts(folder: Path) -> Words:
    """Read the words of numbers from a folder of G.722 prompts (`.../en_US_f_Allison`)."""
    names = {str(n): word for n, word in enumerate((*DIGITS, *TEENS))}
    names |= {str(10 * (n + 2)): word for n, word in enumerate(TENS)}
    names |= {word: word for word in ("oh", "hundred", "thousand")}
    words: Words = {}
    for name, word in names.items():
        words[word] = [trim(read_audio(folder / "digits" / f"{name}.g722", "g722"))]
    return words


def read_spoken_digits(folder: Path, speakers: Collection[str] = ()) -> dict[str, Words]:
    """Read a folder of spoken digits: speaker to word to recordings, in the files' order.

    Args:
        folder: The folder of WAV files.
        speakers: Only these speakers; all of them when empty.
    """
    read: dict[str, Words] = defaultdict(lambda: defaultdict(list))
    paths = [(path.stem.split("_"), path) for path in folder.glob("[0-9]_*_*.wav")]
    for (digit, speaker, _), path in sorted(paths, key=lambda item: (item[0][1], int(item[0][2]))):
        if not speakers or speaker in speakers:
            read[speaker][DIGITS[int(digit)]].append(trim(read_audio(path)))
    return {speaker: dict(words) for speaker, words in read.items()}


def sequence(words: Words, text: str, rng: Random, longest_gap_s: float = 0.35) -> Samples:
    """Join one speaker's recordings of the words of a text, with gaps of a random length.

    Loudness varies by some decibels from word to word, and gaps are digital silence: noise comes
    with augmentation.
    """
    parts: list[Samples] = []
    usual_gap_s = rng.uniform(0.0, longest_gap_s)
    for index, word in enumerate(text.split()):
        if index:
            gap_s = max(0.0, usual_gap_s + rng.uniform(-0.1, 0.1))
            parts.append(np.zeros(int(gap_s * RATE_HZ), np.float32))
        recording = rng.choice(words[word])
        level = float(np.sqrt((recording**2).mean()) + 1e-6)
        parts.append(recording * np.float32(0.1 / level * 10 ** (rng.uniform(-3, 3) / 20)))
    return np.concatenate(parts)


def digit_text(rng: Random) -> str:
    """One to five digits, single ones most often, doubled ones at times."""
    count = rng.choice((1, 1, 1, 1, 2, 2, 3, 3, 4, 5))
    if count == 2 and rng.random() < 0.3:
        return " ".join([rng.choice(DIGITS)] * 2)
    return " ".join(rng.choice(DIGITS) for _ in range(count))


def prompt_text(rng: Random) -> str:
    """Digits with "oh" at times, or a number up to 9999."""
    if rng.random() < 0.5:
        return sample("digits", rng)
    return cardinal(rng.randrange(10, rng.choice((20, 100, 100, 1000, 10000))))


def judging_clips(
    words: Words, speaker: str, singles_each: int = 20, sequences: int = 60
) -> list[Clip]:
    """A speaker's test set: single digits, evenly from the files, and sequences of 2 to 5."""
    clips = []
    for word in DIGITS:
        step = max(1, len(words[word]) // singles_each)
        chosen = words[word][::step][:singles_each]
        clips += [Clip("single", speaker, word, recording) for recording in chosen]
    rng = Random(f"test {speaker}")
    for _ in range(sequences):
        text = " ".join(rng.choice(DIGITS) for _ in range(rng.randint(2, 5)))
        clips.append(Clip("sequence", speaker, text, sequence(words, text, rng)))
    return clips
