"""What a command that transcribes many recordings has done so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from asr_client._types import Transcript


@dataclass
class Tally:
    """Counts from its making on."""

    succeeded: int = 0
    failed: int = 0
    audio_s: float = 0.0
    _started_at: float = field(default_factory=time.monotonic)

    def transcribed(self, transcript: Transcript) -> None:
        """Count a recording that has a transcript."""
        self.succeeded += 1
        self.audio_s += transcript.duration_s

    @property
    def done(self) -> int:
        """Recordings with a transcript or an error."""
        return self.succeeded + self.failed

    @property
    def elapsed_s(self) -> float:
        """Seconds of this run."""
        return time.monotonic() - self._started_at

    @property
    def note(self) -> str:
        """The hours of audio, how many times faster than it sounds, and the failures."""
        rtfx = self.audio_s / max(1e-9, self.elapsed_s)
        return f"{self.audio_s / 3600:.2f} h  RTFx {rtfx:.1f}  {self.failed} failed"
