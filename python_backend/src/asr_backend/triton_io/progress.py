"""Signs of life of a model instance: a few numbers in shared memory.

The process of an instance writes them and the supervisor of asr-server reads them. A process that
hangs writes nothing, so it need not be asked. Without asr-server nothing is written.

The file holds, in the machine's byte order:

* `beats`, uint64: raised by one every BEAT_S;
* `steps`, uint64: raised by one when the instance begins work or finishes a part of it;
* `busy`, uint64: pieces of work in flight;
* `patience_s`, float64: how long the next step may take, in seconds.
"""

from __future__ import annotations

import asyncio
import math
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PREFIX_VARIABLE = "ASR_PROGRESS"
"""Environment variable with the start of the files' paths; the process id follows."""

BEAT_S = 0.5
"""Seconds between two beats."""

HANG_S = 8.0
"""An instance without a sign of life for so many seconds is considered hung."""

MARGIN = 5.0
"""A step may take this many times as long as the slowest step so far."""

_LAYOUT = struct.Struct("=QQQd")


@dataclass(frozen=True)
class Signs:
    """The numbers in an instance's file.

    Attributes:
        beats: changes every BEAT_S while the process runs.
        steps: changes with each step of its work.
        busy: pieces of work in flight.
        patience_s: how long the next step may take, in seconds.
    """

    beats: int
    steps: int
    busy: int
    patience_s: float


def read_signs(path: Path) -> Signs | None:
    """Read a file; None if it is missing or incomplete."""
    try:
        return Signs(*_LAYOUT.unpack(path.read_bytes()[: _LAYOUT.size]))
    except (OSError, struct.error):
        return None


class Progress:
    """Writes the signs of life of this process. Safe from any of its threads.

    Args:
        path: the file to write; None writes nothing.

    Raises:
        OSError: the file cannot be made, for example because shared memory is full.
    """

    def __init__(self, path: Path | None) -> None:
        self._memory = _map(path) if path else None
        self._lock = threading.Lock()
        self._beats = self._steps = self._busy = 0
        # Until the size of a step is known, work may take any time: a front waits for windows.
        self._patience_s = math.inf
        self._slowest_s = self._slowest_rate = 0.0
        self._beating: asyncio.Task[None] | None = None
        self._write()
        if path:
            threading.Thread(target=self._beat, name="beats", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> Progress:
        """The object for the file that asr-server reads; without asr-server it writes nothing."""
        prefix = os.environ.get(PREFIX_VARIABLE)
        return cls(Path(f"{prefix}{os.getpid()}") if prefix else None)

    @contextmanager
    def work(self) -> Iterator[None]:
        """A piece of work is in flight while the block runs."""
        self._change(busy=1)
        try:
            yield
        finally:
            self._change(busy=-1)

    def expect(self, size: float) -> None:
        """Begin a step of this size, in any unit. Earlier steps decide how long it may take."""
        with self._lock:
            longest_s = max(self._slowest_s, self._slowest_rate * size)
            self._patience_s = max(HANG_S, MARGIN * longest_s)
            self._steps += 1
            self._write()

    def done(self, size: float, took_s: float) -> None:
        """End the step, which took so many seconds."""
        with self._lock:
            self._slowest_s = max(self._slowest_s, took_s)
            self._slowest_rate = max(self._slowest_rate, took_s / max(size, 1e-9))
            self._steps += 1
            self._write()

    def beat_with(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on beat only while this event loop, the running one, is not blocked."""
        if self._beating is None and self._memory:
            self._beating = loop.create_task(self._beat_in_loop())

    async def _beat_in_loop(self) -> None:
        while True:
            self._change(beats=1)
            await asyncio.sleep(BEAT_S)

    def _beat(self) -> None:
        while self._beating is None:
            self._change(beats=1)
            time.sleep(BEAT_S)

    def _change(self, *, beats: int = 0, busy: int = 0) -> None:
        with self._lock:
            self._beats += beats
            self._busy += busy
            self._steps += abs(busy)
            self._write()

    def _write(self) -> None:
        if self._memory:
            signs = self._beats, self._steps, self._busy, self._patience_s
            _LAYOUT.pack_into(self._memory, 0, *signs)


def _map(path: Path) -> mmap.mmap:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # Reserve the room now: a page that full shared memory lacks would kill the process later.
        os.posix_fallocate(file, 0, _LAYOUT.size)
        return mmap.mmap(file, _LAYOUT.size)
    finally:
        os.close(file)
