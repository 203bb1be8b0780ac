"""Processes: a tree's processor time and memory, a periodic look, and a child behind a pipe."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import psutil

_EXIT_S = 30.0


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its children; empty after its end."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(pid: int) -> float:
    """Processor seconds, user and system, of the living processes of a tree."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_bytes(pid: int) -> int:
    """Memory of a tree; a page that several processes share counts once (PSS)."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


@contextlib.contextmanager
def repeated(look: Callable[[], object], period_s: float) -> Iterator[None]:
    """Call `look` every `period_s` seconds, from a thread, while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(period_s):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def child(serve: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Run `serve(pipe, *arguments)` in a new process; yields the other end of the pipe.

    At the end of the block the pipe is closed, which raises EOFError in a `serve` that waits for a
    message. A process that does not end within 30 s is killed.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
        ours.close()
        process.join(_EXIT_S)
    finally:
        process.kill()
        process.join()


def serve_fake(pipe: Connection, keep: int | None = None) -> None:
    """Run the SDK's fake server in a `child`: sends its address, and ends with the pipe."""
    from asr_client.testing import FakeServer

    with FakeServer(keep=keep) as server:
        pipe.send(server.url)
        with contextlib.suppress(EOFError):
            pipe.recv()
