"""A limit on the memory of a system's processes, and the maximum that they used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

from tools.processes import memory_bytes, repeated

PERIOD_S = 2.0
CAP = 0.9
"""The share of the memory that is free at a start which one process may take."""


def cap_memory(pid: int) -> None:
    """Let a process, and those that it will start, fail to allocate before the machine is full.

    Padding sixteen clips to the longest takes gigabytes; without a cap the kernel might end
    whatever else runs here.
    """
    limit = round(CAP * psutil.virtual_memory().available)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).rlimit(psutil.RLIMIT_DATA, (limit, limit))


@contextlib.contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """Look at a process tree while the block runs; yields a list that holds its bytes each time."""
    seen = [memory_bytes(pid)]
    with repeated(lambda: seen.append(memory_bytes(pid)), PERIOD_S):
        yield seen
    seen.append(memory_bytes(pid))
