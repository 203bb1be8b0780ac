"""Speech clips of stated lengths, joined from recordings whose words are known."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tools.recordings import RECORDINGS, read_pcm, transcripts, wav


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Clips of one kind: their lengths and the pauses between utterances, seconds."""

    shortest_s: float
    longest_s: float
    pause_s: tuple[float, float] = (0.1, 0.5)
    pcm: bool = False
    """Raw samples instead of a WAV file."""

    lead_s: float = 0.0
    """Silence before the first utterance, seconds."""

    noise_db: float | None = None
    """Level of noise against that of the whole clip; None is digital silence in pauses."""

    is_live: bool = False
    """For live streams, which play it in real time."""


KINDS: Mapping[str, Kind] = {
    "commands": Kind(shortest_s=1.1, longest_s=3.0),
    "sentences": Kind(shortest_s=1.5, longest_s=30.0),
    "meetings": Kind(shortest_s=60.0, longest_s=180.0, pause_s=(0.3, 2.5)),
    "seconds": Kind(shortest_s=1.0, longest_s=1.0, pcm=True),
    "talks": Kind(
        shortest_s=6.0,
        longest_s=14.0,
        pause_s=(0.6, 1.5),
        pcm=True,
        lead_s=0.6,
        noise_db=-35.0,
        is_live=True,
    ),
}
"""Words to a machine; text read aloud, with LibriSpeech's range of lengths; long conversations; one
second each, cut without regard to words; and what is said into a microphone, with faint noise."""

MIX: Mapping[str, int] = {"commands": 16, "sentences": 16}
"""How many clips of each kind a corpus has by default; 5.8 s on average."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One input of `transcribe`, and the result that it should have."""

    name: str
    """Unique in its corpus, such as `commands-03`."""

    kind: str
    """One of `KINDS`, or what a bad input is called."""

    audio: bytes
    """A WAV file or raw samples: 16-bit PCM, mono, at the recordings' own rate; anything for a
    bad input."""

    words: str = ""
    """The spoken words: lower case, one space between words. Empty when they are not known."""

    duration_s: float
    """Its length in seconds."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `transcribe`."""

    refusal: str | None = None
    """The contract's code that a bad input is to be refused with; None for a good one."""

    is_live: bool = False
    """Whether it is the audio of a live stream: raw samples that play in real time."""


@dataclass(frozen=True, kw_only=True)
class _Recording:
    pcm: bytes
    rate_hz: int
    words: str


def build_corpus(
    *,
    seed: int,
    mix: Mapping[str, int] = MIX,
    recordings: Path = RECORDINGS,
    kinds: Mapping[str, Kind] = KINDS,
) -> tuple[Clip, ...]:
    """Make clips of known words; the same arguments make the same bytes.

    The wanted lengths of a kind are spread evenly on a logarithmic scale over its range. A kind's
    clips do not depend on what else is in the mix; their order does.

    Args:
        seed: Of the generators that pick recordings, pauses and the order.
        mix: Number of clips by kind, one of `KINDS`.
        recordings: A folder with `transcripts.tsv` (columns `file`, `text`) and the WAV files it
            names: 16-bit, mono, all of one rate.
        kinds: What the mix names.

    Raises:
        ValueError: A recording is not 16-bit mono, or the rates differ.
    """
    sources = _read_recordings(recordings)
    clips = []
    for name, count in mix.items():
        kind, generator = kinds[name], random.Random(f"{seed} {name}")
        spread = math.log(kind.longest_s / kind.shortest_s)
        for index in range(count):
            wanted_s = kind.shortest_s * math.exp(spread * index / count)
            clips.append(_clip(sources, f"{name}-{index:02}", name, kind, wanted_s, generator))
    random.Random(seed).shuffle(clips)
    return tuple(clips)


def digest(corpus: Iterable[Clip]) -> str:
    """A hash of the clips in their order, which all generators of one run must have in common."""
    total = hashlib.sha256()
    for clip in corpus:
        total.update(hashlib.sha256(clip.audio).digest())
        total.update(repr((clip.name, clip.words, sorted(clip.options.items()))).encode())
    return total.hexdigest()


def _clip(
    sources: list[_Recording],
    name: str,
    kind: str,
    form: Kind,
    wanted_s: float,
    generator: random.Random,
) -> Clip:
    """Join random recordings while they fit into `wanted_s`; the minimum is the shortest one."""
    rate_hz = sources[0].rate_hz
    words, speech_bytes = [], 0
    pcm = bytearray(2 * round(form.lead_s * rate_hz))
    left_s = max(wanted_s - form.lead_s, min(_seconds(len(s.pcm), rate_hz) for s in sources))
    while fitting := [s for s in sources if _seconds(len(s.pcm), rate_hz) <= left_s]:
        source = generator.choice(fitting)
        pcm += source.pcm
        speech_bytes = len(pcm)
        words.append(source.words)
        pcm += bytes(2 * round(generator.uniform(*form.pause_s) * rate_hz))
        left_s = wanted_s - _seconds(len(pcm), rate_hz)
    del pcm[2 * round(form.longest_s * rate_hz) :]
    if form.noise_db is not None:
        pcm = _noisy(pcm, form.noise_db, generator)
    raw = {"encoding": "pcm_s16le", "sample_rate": rate_hz, "channels": 1}
    return Clip(
        name=name,
        kind=kind,
        audio=bytes(pcm) if form.pcm else wav(bytes(pcm), rate_hz),
        words=" ".join(words) if speech_bytes <= len(pcm) else "",
        duration_s=_seconds(len(pcm), rate_hz),
        options=raw if form.pcm else {},
        is_live=form.is_live,
    )


def _noisy(pcm: bytearray, level_db: float, generator: random.Random) -> bytearray:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    noise = np.random.default_rng(generator.randrange(2**32)).normal(size=len(samples))
    samples += noise * samples.std() * 10 ** (level_db / 20)
    return bytearray(samples.round().clip(-32768, 32767).astype("<i2").tobytes())


def _read_recordings(folder: Path) -> list[_Recording]:
    recordings = [
        _Recording(pcm=pcm, rate_hz=rate_hz, words=words)
        for path, words in transcripts(folder)
        for pcm, rate_hz in [read_pcm(path)]
    ]
    if len({recording.rate_hz for recording in recordings}) != 1:
        raise ValueError(f"the recordings in {folder} are not all of one sample rate")
    return recordings


def _seconds(pcm_bytes: int, rate_hz: int) -> float:
    return pcm_bytes / 2 / rate_hz
