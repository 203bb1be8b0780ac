"""The memory and the processor time of a process and all its children."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType

import psutil

PERIOD_S = 2.0
CAP = 0.9
"""The share of the memory which is free at a start that one process may take."""


def cap_memory(pid: int) -> None:
    """Let a process, and those that it will start, fail to allocate before the machine is full.

    Padding sixteen clips to the longest takes gigabytes; without a cap the kernel might end
    whatever else runs here.
    """
    limit = round(CAP * psutil.virtual_memory().available)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).rlimit(psutil.RLIMIT_DATA, (limit, limit))


def processes(pid: int) -> list[psutil.Process]:
    """A process and all its children; none where it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(pid: int) -> float:
    """Seconds of processor time that the living processes of a tree have used."""
    total = 0.0
    for process in processes(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


class PeakMemory:
    """Watches a process tree from a thread while the `with` block lasts.

    A page that several processes share counts once (proportional set size).

    Args:
        pid: of the tree's root.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._sample()

    def _watch(self) -> None:
        while not self._over.wait(PERIOD_S):
            self._sample()

    def _sample(self) -> None:
        total = 0
        for process in processes(self._pid):
            # One that ends while it is looked at holds nothing any more.
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        self.bytes = max(self.bytes, total)
