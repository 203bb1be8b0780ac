"""Work stops when its caller has gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from asr_client import AsyncClient, Cancelled, Client, DeadlineExceeded
from tests.support import recordings
from tests.support.server import metrics_page
from tests.support.server.long_recordings import long_recording
from tools.local_server import LocalServer

pytestmark = pytest.mark.server

FILE_WINDOWS = 45
CLIP = recordings.FOLDER / "go-forward-ten-meters.wav"
LATER_CLIPS = 5


@pytest.fixture(scope="module")
def audio() -> bytes:
    """A file of at least FILE_WINDOWS windows, as none is longer than 20 s."""
    return long_recording(900)[0]


def executed(server: LocalServer) -> float:
    return metrics_page.value(server.metrics(), "asr_forward_windows_sum")


def in_flight(server: LocalServer) -> float:
    return metrics_page.value(server.metrics(), "asr_windows_in_flight")


def until(condition: Callable[[], bool], what: str, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(every_s)


def expect_stillness(server: LocalServer, before: float) -> None:
    """Check that the file was left unfinished, and that none of its windows comes later.

    How many windows begin between the caller's end and the moment the server learns of it
    depends on the machine; it is a few of FILE_WINDOWS.
    """
    still = before

    def rests() -> bool:
        nonlocal still
        earlier, still = still, executed(server)
        return still == earlier > before and in_flight(server) == 0

    until(rests, "windows stay in flight", every_s=0.3)
    assert still - before < FILE_WINDOWS
    # Windows of the file would be computed before those that come now, or between them.
    with Client(server.url, timeout_s=120) as other:
        for _ in range(LATER_CLIPS):
            other.transcribe(CLIP)
    until(lambda: executed(server) >= still + LATER_CLIPS, "the clips are not counted")
    assert (executed(server), in_flight(server)) == (still + LATER_CLIPS, 0)


async def test_cancelling_a_task_stops_the_server_before_the_next_window(
    server: LocalServer, audio: bytes
) -> None:
    before = executed(server)
    async with AsyncClient(server.url) as client:
        task = asyncio.create_task(client.transcribe(audio))
        await asyncio.to_thread(until, lambda: executed(server) > before + 2, "no windows")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(expect_stillness, server, before)


def test_closing_the_client_stops_the_server_before_the_next_window(
    server: LocalServer, audio: bytes
) -> None:
    before = executed(server)
    with ThreadPoolExecutor(1) as pool:
        client = Client(server.url)
        future = pool.submit(client.transcribe, audio)
        until(lambda: executed(server) > before + 2, "no windows")
        client.close()
        with pytest.raises(Cancelled):
            future.result(30)
    expect_stillness(server, before)


def test_the_deadline_stops_the_server_before_the_next_window(
    server: LocalServer, audio: bytes
) -> None:
    before, timeout_s = executed(server), 0.5
    with Client(server.url) as client:
        # The first windows take a time that depends on the machine.
        while True:
            with pytest.raises(DeadlineExceeded):
                client.transcribe(audio, timeout_s=timeout_s)
            if executed(server) > before:
                break
            timeout_s *= 2
    expect_stillness(server, before)


def test_leaving_an_iteration_stops_the_server_before_the_next_window(
    server: LocalServer, audio: bytes
) -> None:
    before = executed(server)
    left = threading.Event()

    def items() -> object:
        yield audio
        until(lambda: executed(server) > before + 2, "no windows")
        left.set()
        raise KeyboardInterrupt

    with Client(server.url) as client:
        outcomes = client.transcribe_many(items(), concurrency=2)  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            list(outcomes)
    assert left.is_set()
    expect_stillness(server, before)
