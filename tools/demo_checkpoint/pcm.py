"""Mono audio as float32 arrays at 16 kHz: reading, resampling, trimming, and shards of clips.

A shard is a pair of files: `NAME.pcm`, little-endian 16-bit samples of all clips one after the
other, and `NAME.tsv`, one line a clip: group, voice, offset and length in samples, text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE_HZ = 16000


@dataclass(frozen=True)
class Clip:
    """A recording with its words."""

    group: str
    """What the words are: cards, digits, numbers, commands, or a real corpus's name."""
    voice: str
    """Who speaks."""
    text: str
    """Lower-case words with single spaces."""
    samples: Samples
    """float32, full scale 1, 16 kHz."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE_HZ


def read_audio(path: Path, container: str | None = None) -> Samples:
    """Decode a file to 16 kHz mono float32 with full scale 1."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    parts: list[Samples] = []
    with av.open(str(path), format=container) as file:
        for frame in file.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def trim(samples: Samples, margin_s: float = 0.03, floor_db: float = -42.0) -> Samples:
    """Cut both ends where 10 ms blocks stay below `floor_db` of the loudest one."""
    block = RATE_HZ // 100
    count = len(samples) // block
    if count == 0:
        return samples
    energy = (samples[: count * block].reshape(count, block) ** 2).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() * 10 ** (floor_db / 10))
    if len(loud) == 0:
        return samples
    margin = int(margin_s * RATE_HZ)
    return samples[max(0, loud[0] * block - margin) : (loud[-1] + 1) * block + margin]


def write_shard(folder: Path, name: str, clips: Iterable[Clip]) -> float:
    """Write a shard; returns the seconds of audio in it."""
    folder.mkdir(parents=True, exist_ok=True)
    offset = 0
    lines = []
    with (folder / f"{name}.pcm").open("wb") as pcm:
        for clip in clips:
            peak = float(np.abs(clip.samples).max(initial=1e-6))
            pcm.write((clip.samples * (0.9 / peak) * 32767).astype("<i2").tobytes())
            lines.append(f"{clip.group}\t{clip.voice}\t{offset}\t{len(clip.samples)}\t{clip.text}")
            offset += len(clip.samples)
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return offset / RATE_HZ


def read_shards(folder: Path) -> list[Clip]:
    """Read all shards of a folder, samples memory-mapped until used."""
    clips = []
    for index in sorted(folder.glob("*.tsv")):
        pcm = np.fromfile(index.with_suffix(".pcm"), "<i2").astype(np.float32) / 32768
        for line in index.read_text(encoding="utf-8").splitlines():
            group, voice, offset, length, text = line.split("\t")
            start = int(offset)
            clips.append(Clip(group, voice, text, pcm[start : start + int(length)]))
    return clips
