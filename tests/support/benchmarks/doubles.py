"""Systems that answer at once, or with given answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.systems.base import Answer, CannotRun, Padding


class FakeSystem:
    """A system in this process; notes how many clips each call had."""

    is_peer = True

    def __init__(
        self,
        name: str = "fake",
        *,
        at_once: Sequence[int] = (1,),
        takes_batches: bool = False,
        transcribe: Callable[[bytes], str] = lambda wav: "a text",
        took_s: float | None = None,
        cannot_start: str = "",
    ) -> None:
        self.name = name
        self.at_once = at_once
        self.takes_batches = takes_batches
        self.stopped = False
        self.call_sizes: list[int] = []
        self._transcribe = transcribe
        self._took_s = took_s
        self._cannot_start = cannot_start

    def start(self, checkpoint: Path, work: Path) -> int:
        if self._cannot_start:
            raise CannotRun(self._cannot_start)
        return os.getpid()

    def call(self, wavs: Sequence[bytes]) -> Answer:
        self.call_sizes.append(len(wavs))
        return Answer(texts=[self._transcribe(wav) for wav in wavs], took_s=self._took_s)

    def padding(self) -> Padding:
        clips = sum(self.call_sizes)
        return Padding(audio_s=3.0 * clips, padded_s=4.0 * clips)

    def stop(self) -> None:
        self.stopped = True
