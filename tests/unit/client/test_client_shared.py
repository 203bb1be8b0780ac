"""A client that threads or tasks share, and that is closed under them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

import asr_client
from asr_client import AsyncClient, Client, RetryPolicy
from asr_client.testing import FakeServer, Fault
from tests.support.client.driver import FAST
from tests.support.client.waiting import wait_until
from tests.unit.client.test_client import RECORDING, SILENCE, say


def test_many_threads_share_a_client(server: FakeServer) -> None:
    with Client(server.url, retry=FAST) as client, ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda _: say(client).text, range(100)))
    assert texts == ["seven of clubs"] * 100


def test_closing_ends_the_calls_of_other_threads(server: FakeServer) -> None:
    server.delay_s = 60
    client = Client(server.url)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(say, client)
        wait_until(lambda: len(server.requests) == 1)
        client.close()
        with pytest.raises(asr_client.Cancelled):
            future.result(30)


def test_closing_ends_a_wait_before_a_retry(server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL, times=9)
    slow = RetryPolicy(initial_backoff_s=1e4, max_backoff_s=1e4)
    client = Client(server.url, retry=slow, timeout_s=1e5)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(say, client)
        wait_until(lambda: len(server.requests) == 1)
        client.close()
        with pytest.raises(asr_client.Cancelled):
            future.result(30)


async def test_many_tasks_share_a_client(server: FakeServer) -> None:
    async with AsyncClient(server.url, retry=FAST) as client:
        calls = [client.transcribe(SILENCE, sample_rate=16000) for _ in range(100)]
        transcripts = await asyncio.gather(*calls)
    assert [transcript.text for transcript in transcripts] == ["seven of clubs"] * 100


@pytest.mark.skipif(not hasattr(asyncio.Task, "cancelling"), reason="Python 3.10 cannot tell")
async def test_a_cancellation_at_the_moment_of_a_failure_is_not_lost(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gRPC does when a request fails and its task is cancelled at once."""

    async def fails_when_cancelled(*args: Any, **kwargs: Any) -> Any:
        sent.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
            ) from None

    slow = RetryPolicy(initial_backoff_s=600, max_backoff_s=600)
    sent = asyncio.Event()
    async with AsyncClient(server.url, timeout_s=3000, retry=slow) as client:
        await client.transcribe(SILENCE, sample_rate=16000)
        stub = SimpleNamespace(ModelInfer=fails_when_cancelled)
        connection = client._sender.connections._held[server.url]
        monkeypatch.setattr(connection, "stub", stub)
        task = asyncio.create_task(client.transcribe(SILENCE, sample_rate=16000))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)


async def test_a_cancellation_at_the_moment_that_a_file_was_read_is_not_lost(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def to_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
        begun.set()
        await go_on.wait()
        return function(*args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    async with AsyncClient(server.url) as client:
        task = asyncio.create_task(client.transcribe(RECORDING))
        await begun.wait()
        go_on.set()
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not server.requests


async def test_a_task_that_went_on_after_a_cancellation_tries_again_as_any_other(
    server: FakeServer,
) -> None:
    async def work() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return (await client.transcribe(RECORDING)).text

    async with AsyncClient(server.url, retry=FAST) as client:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        server.fail(Fault.QUEUE_FULL)
        assert await task == "seven of clubs"


async def test_no_time_to_wait_still_notices_a_closed_client(server: FakeServer) -> None:
    client = AsyncClient(server.url)
    call = client._call(60, None)
    await client._sender.pause(call, 0)
    await client.close()
    with pytest.raises(asr_client.Cancelled):
        await client._sender.pause(call, 0)


async def test_cancelling_a_task_cancels_its_call(server: FakeServer) -> None:
    server.delay_s = 60
    async with AsyncClient(server.url) as client:
        task = asyncio.create_task(client.transcribe(SILENCE, sample_rate=16000))
        await asyncio.to_thread(wait_until, lambda: len(server.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.requests[0].ended_early.wait, 20)


async def test_closing_ends_the_calls_of_other_tasks(server: FakeServer) -> None:
    server.delay_s = 60
    client = AsyncClient(server.url)
    task = asyncio.create_task(client.transcribe(SILENCE, sample_rate=16000))
    await asyncio.to_thread(wait_until, lambda: len(server.requests) == 1)
    await client.close()
    with pytest.raises(asr_client.Cancelled):
        await task


async def test_closing_ends_a_task_s_wait_before_a_retry(server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL, times=9)
    slow = RetryPolicy(initial_backoff_s=1e4, max_backoff_s=1e4)
    client = AsyncClient(server.url, retry=slow, timeout_s=1e5)
    task = asyncio.create_task(client.transcribe(SILENCE, sample_rate=16000))
    await asyncio.to_thread(wait_until, lambda: len(server.requests) == 1)
    await client.close()
    with pytest.raises(asr_client.Cancelled):
        await task


async def test_reading_a_slow_file_does_not_hold_the_event_loop(server: FakeServer) -> None:
    go_on = threading.Event()

    class SlowFile:
        def read(self) -> bytes:
            assert go_on.wait(20)
            return RECORDING.read_bytes()

    async with AsyncClient(server.url) as client:
        task = asyncio.create_task(client.transcribe(SlowFile()))
        # Would never come back if the read ran in this thread.
        assert await client.is_ready()
        go_on.set()
        assert (await task).text == "seven of clubs"


async def test_the_timeout_covers_reading_the_file(server: FakeServer, tmp_path: Path) -> None:
    fifo = tmp_path / "never.wav"
    os.mkfifo(fifo)
    async with AsyncClient(server.url) as client:
        with pytest.raises(asr_client.DeadlineExceeded) as caught:
            await client.transcribe(fifo, timeout_s=0.2)
    assert caught.value.attempts == 0
    # Ends the thread that still waits for a writer.
    os.close(os.open(fifo, os.O_WRONLY))


def test_an_async_client_belongs_to_one_event_loop(server: FakeServer) -> None:
    client = AsyncClient(server.url)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        assert first.run_until_complete(client.is_ready())
        with pytest.raises(RuntimeError, match="event loop"):
            second.run_until_complete(client.is_ready())
        first.run_until_complete(client.close())
    finally:
        first.close()
        second.close()
