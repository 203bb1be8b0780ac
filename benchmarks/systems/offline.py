"""Programs without a server: a process that is handed clips and answers with their transcripts."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from benchmarks.memory import cap_memory
from benchmarks.systems.base import Answer, CannotRun, Padding

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 5.0


class Heard(NamedTuple):
    """What a program says of one batch."""

    texts: list[str]
    samples: int
    padded_samples: int


Transcriber = Callable[[Sequence[bytes]], Heard]


class Offline:
    """See System. One call at a time.

    Args:
        name: in tables.
        load: makes the transcriber from a checkpoint, in the process of its own; of a module's
            top level.
        setting: handed to `load`.
        at_once: clips in a call.
        is_peer: whether it is somebody else's.
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
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._padding = Padding()

    def start(self, checkpoint: Path, work: Path) -> int:
        """See System."""
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._load, checkpoint, self._setting), daemon=True
        )
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        cap_memory(self._process.pid)
        try:
            if not self._connection.poll(START_TIMEOUT_S):
                raise CannotRun(f"it did not start within {START_TIMEOUT_S:.0f} s")
            self._connection.recv()
        except EOFError:
            raise CannotRun("its process ended while it started") from None
        return self._process.pid

    def call(self, wavs: Sequence[bytes]) -> Answer:
        """See System."""
        assert self._connection is not None
        self._connection.send(list(wavs))
        took_s, heard = self._connection.recv()
        if isinstance(heard, str):
            raise RuntimeError(heard)
        self._padding = Padding(
            audio_s=self._padding.audio_s + heard.samples / 16_000,
            padded_s=self._padding.padded_s + heard.padded_samples / 16_000,
        )
        return Answer(texts=heard.texts, took_s=took_s)

    def padding(self) -> Padding:
        """See System."""
        return self._padding

    def stop(self) -> None:
        """See System."""
        if self._process is None or self._connection is None:
            return
        # The end of the connection ends the process, unless it is still at work.
        self._connection.close()
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(
    connection: Connection,
    load: Callable[[Path, str], Transcriber],
    checkpoint: Path,
    setting: str,
) -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    transcribe = load(checkpoint, setting)
    connection.send("ready")
    while True:
        try:
            wavs = connection.recv()
        except EOFError:
            return
        started = time.perf_counter()
        try:
            heard = transcribe(wavs)
        except Exception as error:
            connection.send((0.0, f"{type(error).__name__}: {error}"))
        else:
            connection.send((time.perf_counter() - started, heard))
