"""Large recordings are kept in a file while they are transcribed."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import os
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest

from asr_backend.triton_io.errors import UpstreamError
from tests.support.backend.front import PCM, Front, levels, request, text_of

LARGE = levels("ABCD " * 200)
"""40 s, 1.2 MiB: more than one window, and more than is kept in memory."""


def spooled() -> tuple[int, int]:
    """Mapped files without a name, and open descriptors, of this process."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return maps.count("(deleted)"), psutil.Process().num_fds()


@pytest.fixture
def without_collector():
    """Only what nothing refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("end", ["answer", "failure", "refusal", "cancellation", "each channel"])
async def test_a_large_recording_lies_in_a_file_until_it_is_answered(front: Front, end: str):
    before = spooled()
    options = PCM | ({"channels": 2, "channel": "separate"} if end == "each channel" else {})
    if end == "refusal":
        options |= {"channel": 3}
    asked = request(LARGE, options)
    audio = weakref.ref(asked.inputs["AUDIO"])
    front.reader.gate.clear()
    batch = [asked]
    work = asyncio.create_task(front.model.execute(batch))
    caller = asked.caller
    del asked
    while not front.reader.windows and caller.response is None:
        await asyncio.sleep(0.001)
    assert batch == []
    assert audio() is None
    if end in ("failure", "each channel"):
        front.reader.error = UpstreamError("no", "UNAVAILABLE")
    else:
        assert end == "refusal" or spooled() == (before[0] + 1, before[1] + 1)
    caller.cancelled = end == "cancellation"
    front.reader.gate.set()
    await work
    while caller.response is None:
        await asyncio.sleep(0.001)
    assert (not caller.response.has_error()) == (end == "answer")
    # An error keeps its traceback, and a thread its last work for a moment.
    front.reader.error = None
    deadline = time.monotonic() + 5
    while spooled() != before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_small_recording_touches_no_file(front: Front, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    asked = request(levels("OK " * 100))
    await front.answer(asked)
    assert text_of(asked) == ("OK " * 100).strip()


@pytest.mark.parametrize("step", ["open", "write"])
async def test_a_full_disk_is_an_error_that_another_server_may_not_have(
    front: Front, monkeypatch, step: str
):
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_file() -> io.BytesIO:
        if step == "open":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return Full()

    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)
    asked = request(LARGE)
    await front.answer(asked)
    message, status = asked.failure()
    assert message == (
        f"OUT_OF_MEMORY: the server cannot put {len(LARGE)} bytes of audio aside: "
        "No space left on device"
    )
    assert status == "UNAVAILABLE"
