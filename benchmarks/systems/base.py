"""The interface of a system to the runner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a call.

    Attributes:
        texts: the transcript of each clip, in order.
        took_s: the system's own measure of the call in seconds, for those that run in one process
            and are handed their clips from outside it; None is the caller's clock.
    """

    texts: list[str]
    took_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Padding:
    """Audio that went through the network so far, in seconds."""

    audio_s: float = 0.0
    padded_s: float = 0.0
    """With what was added to make the clips of a batch equally long."""

    def __sub__(self, other: Padding) -> Padding:
        return Padding(
            audio_s=self.audio_s - other.audio_s, padded_s=self.padded_s - other.padded_s
        )


class System(Protocol):
    """One way to serve a checkpoint.

    Attributes:
        name: in tables.
        at_once: how many clips at a time are worth measuring: calls in flight, or for programs that
            are handed batches, clips in a call.
        takes_batches: whether it is such a program.
        is_peer: whether it is another project.
    """

    name: str
    at_once: Sequence[int]
    takes_batches: bool
    is_peer: bool

    def start(self, checkpoint: Path, work: Path) -> int:
        """Install what is missing, start, and return when calls are answered.

        Args:
            checkpoint: in Hugging Face's format.
            work: an empty folder for logs and other files.

        Returns:
            The id of the process whose tree holds the system.

        Raises:
            CannotRun: it does not run here; the message is one line for the table.
        """
        ...

    def call(self, wavs: Sequence[bytes]) -> Answer:
        """Transcribe WAV files; one that takes no batches is given one, from many threads."""
        ...

    def padding(self) -> Padding:
        """What went through the network since the start."""
        ...

    def stop(self) -> None:
        """End everything that was started, also after a start that failed."""
        ...


class CannotRun(Exception):
    """The system cannot be measured here."""
