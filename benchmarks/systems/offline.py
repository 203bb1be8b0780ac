"""Programs without a server: a process that is handed clips and answers with their transcripts."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.memory import cap_memory
from benchmarks.systems.base import Answer, CannotRun, Padding
from tools.processes import child

START_TIMEOUT_S = 180.0


class Transcribed(NamedTuple):
    """The result of one batch."""

    texts: list[str]
    samples: int
    padded_samples: int


Transcriber = Callable[[Sequence[bytes]], Transcribed]


class Offline:
    """See System. One call at a time.

    Args:
        name: in tables.
        load: makes the transcriber from a checkpoint, in the process of its own; of a module's
            top level.
        setting: handed to `load`.
        at_once: clips in a call.
        is_peer: whether it is another project.
    """

    takes_batches = True

    def __init__(
        self,
        name: str,
        load: Callable[[Path, str], Transcriber],
        *,
        setting: str,
        at_once: Sequence[int],
        is_peer: bool = True,
    ) -> None:
        self.name = name
        self.at_once = at_once
        self.is_peer = is_peer
        self._load = load
        self._setting = setting
        self._child = contextlib.ExitStack()
        self._pipe: Connection | None = None
        self._padding = Padding()

    def start(self, checkpoint: Path, work: Path) -> int:
        """See System."""
        served = child(_serve, self._load, checkpoint, self._setting)
        self._pipe = self._child.enter_context(served)
        try:
            pid: int = self._pipe.recv()
            cap_memory(pid)
            if not self._pipe.poll(START_TIMEOUT_S):
                raise CannotRun(f"it did not start within {START_TIMEOUT_S:.0f} s")
            self._pipe.recv()
        except EOFError:
            raise CannotRun("its process ended while it started") from None
        return pid

    def call(self, wavs: Sequence[bytes]) -> Answer:
        """See System."""
        assert self._pipe is not None
        self._pipe.send(list(wavs))
        took_s, batch = self._pipe.recv()
        if isinstance(batch, str):
            raise RuntimeError(batch)
        self._padding = Padding(
            audio_s=self._padding.audio_s + batch.samples / 16_000,
            padded_s=self._padding.padded_s + batch.padded_samples / 16_000,
        )
        return Answer(texts=batch.texts, took_s=took_s)

    def padding(self) -> Padding:
        """See System."""
        return self._padding

    def stop(self) -> None:
        """See System."""
        self._child.close()


def _serve(
    pipe: Connection, load: Callable[[Path, str], Transcriber], checkpoint: Path, setting: str
) -> None:
    pipe.send(os.getpid())
    from transformers.utils import logging

    logging.disable_progress_bar()
    transcribe = load(checkpoint, setting)
    pipe.send("ready")
    while True:
        try:
            wavs = pipe.recv()
        except EOFError:
            return
        started = time.perf_counter()
        try:
            batch = transcribe(wavs)
        except Exception as error:
            pipe.send((0.0, f"{type(error).__name__}: {error}"))
        else:
            pipe.send((time.perf_counter() - started, batch))
