"""The recordings in tests/data, as samples and as files made of them."""

from __future__ import annotations

import csv
import io
import wave
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[1] / "data"
RATE_HZ = 16_000


@cache
def texts() -> dict[str, str]:
    """True words by file name."""
    with (FOLDER / "transcripts.tsv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["text"] for row in csv.DictReader(file, delimiter="\t")}


@cache
def pcm(name: str) -> npt.NDArray[np.int16]:
    """A recording's samples, int16 [samples] at 16 kHz."""
    with wave.open(str(FOLDER / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def samples(name: str) -> npt.NDArray[np.float32]:
    """A recording's samples, float32 [samples], full scale 1."""
    return pcm(name).astype(np.float32) / 32768


def wav(pcm: npt.NDArray[np.int16], rate_hz: int = RATE_HZ) -> bytes:
    """A WAV file of int16 [samples] or [samples, channels]."""
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        output.setsampwidth(2)
        output.setframerate(rate_hz)
        output.writeframes(pcm.tobytes())
    return file.getvalue()


def clips(count: int, *, seed: int = 0, pause_s: float = 0.3) -> list[npt.NDArray[np.int16]]:
    """Clips of unequal length: one to three recordings one after another, int16 [samples]."""
    random = np.random.default_rng(seed)
    names = sorted(texts())
    pause = np.zeros(round(pause_s * RATE_HZ), np.int16)
    made = []
    for _ in range(count):
        chosen = random.choice(names, size=random.integers(1, 4))
        cut = int(random.integers(0, RATE_HZ // 2))
        parts = [part for name in chosen for part in (pcm(name), pause)]
        made.append(np.concatenate(parts)[cut:])
    return made
