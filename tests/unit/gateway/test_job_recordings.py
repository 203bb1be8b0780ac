"""A job's recording is closed whenever its job is cancelled."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from asr_gateway.jobs import runner


async def test_a_file_that_is_opened_after_the_cancellation_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(b"OggS")
    begun, go_on, opened = threading.Event(), threading.Event(), []

    def slow_open(self: Path, mode: str) -> Any:
        begun.set()
        go_on.wait()
        opened.append(os.fdopen(os.open(self, os.O_RDONLY), mode))
        return opened[0]

    monkeypatch.setattr(Path, "open", slow_open)
    task = asyncio.ensure_future(runner._opened(path))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    while not (opened and opened[0].closed):
        await asyncio.sleep(0.01)
