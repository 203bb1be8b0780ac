"""Speech clips of mixed length, joined from recordings whose words are known."""

from __future__ import annotations

import csv
import io
import math
import random
import wave
from dataclasses import dataclass
from pathlib import Path

RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "data"
"""The real recordings of the test suite, with `transcripts.tsv`."""

MAX_CLIP_S = 12.0
"""No clip is longer; the shortest are single recordings of about 1 s."""

_PAUSE_S = (0.1, 0.5)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One utterance, or several with pauses between them."""

    wav: bytes
    """A WAV file: 16-bit PCM, mono, at the recordings' own rate."""

    words: str
    """What is said in it: lower case, one space between words."""

    duration_s: float
    """Its length in seconds."""


@dataclass(frozen=True, kw_only=True)
class _Recording:
    pcm: bytes
    rate_hz: int
    words: str


def build_corpus(*, seed: int, count: int = 32, recordings: Path = RECORDINGS) -> tuple[Clip, ...]:
    """Make `count` clips of 1 to `MAX_CLIP_S` seconds; the same arguments make the same bytes.

    The wanted lengths are spread evenly on a logarithmic scale and shuffled, so that short
    commands are as frequent as in speech to a machine and every corpus holds long clips too.

    Args:
        seed: Of the generator that picks recordings and pauses.
        count: Number of clips.
        recordings: A folder with `transcripts.tsv` (columns `file`, `text`) and the WAV files it
            names: 16-bit, mono, all of one rate.

    Raises:
        ValueError: A recording is not 16-bit mono, or the rates differ.
    """
    sources = _read_recordings(recordings)
    generator = random.Random(seed)
    shortest_s = min(_seconds(len(source.pcm), source.rate_hz) for source in sources)
    spread = math.log(MAX_CLIP_S / shortest_s)
    wanted_s = [shortest_s * math.exp(spread * index / count) for index in range(count)]
    generator.shuffle(wanted_s)
    return tuple(_clip(sources, length_s, generator) for length_s in wanted_s)


def _clip(sources: list[_Recording], wanted_s: float, generator: random.Random) -> Clip:
    """Join random recordings while they fit into `wanted_s`; at least the shortest always does."""
    rate_hz = sources[0].rate_hz
    fitting = [s for s in sources if _seconds(len(s.pcm), rate_hz) <= wanted_s]
    pcm, words = b"", []
    while fitting:
        source = generator.choice(fitting)
        pcm += source.pcm
        words.append(source.words)
        pcm += bytes(2 * round(generator.uniform(*_PAUSE_S) * rate_hz))
        left_s = wanted_s - _seconds(len(pcm), rate_hz)
        fitting = [s for s in sources if _seconds(len(s.pcm), rate_hz) <= left_s]
    pcm = pcm[: 2 * round(MAX_CLIP_S * rate_hz)]
    return Clip(
        wav=_wav(pcm, rate_hz), words=" ".join(words), duration_s=_seconds(len(pcm), rate_hz)
    )


def _read_recordings(folder: Path) -> list[_Recording]:
    with (folder / "transcripts.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    recordings = []
    for row in rows:
        with wave.open(str(folder / row["file"])) as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise ValueError(f"{row['file']} is not 16-bit mono")
            recordings.append(
                _Recording(
                    pcm=file.readframes(file.getnframes()),
                    rate_hz=file.getframerate(),
                    words=row["text"],
                )
            )
    if len({recording.rate_hz for recording in recordings}) != 1:
        raise ValueError(f"the recordings in {folder} are not all of one sample rate")
    return recordings


def _wav(pcm: bytes, rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return buffer.getvalue()


def _seconds(pcm_bytes: int, rate_hz: int) -> float:
    return pcm_bytes / 2 / rate_hz
