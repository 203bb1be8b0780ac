"""The recordings in tests/data with their words, and WAV files of samples."""

from __future__ import annotations

import csv
import io
import wave
from pathlib import Path

RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "data"
"""The real recordings of the test suite, with `transcripts.tsv`."""


def transcripts(folder: Path = RECORDINGS) -> list[tuple[Path, str]]:
    """The files that a folder's `transcripts.tsv` (columns `file`, `text`) names, with words."""
    with (folder / "transcripts.tsv").open(encoding="utf-8", newline="") as table:
        rows = csv.DictReader(table, delimiter="\t")
        return [(folder / row["file"], row["text"]) for row in rows]


def read_pcm(path: Path) -> tuple[bytes, int]:
    """The samples of a WAV file and its rate in Hz.

    Raises:
        ValueError: it is not 16-bit mono.
    """
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError(f"{path} is not 16-bit mono")
        return file.readframes(file.getnframes()), file.getframerate()


def wav(pcm: bytes, rate_hz: int) -> bytes:
    """A WAV file of 16-bit mono samples."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return buffer.getvalue()
