"""`transcribe_many` ended early: closed, interrupted, cancelled, its source broken."""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from asr_client import AsyncClient, Attempt, Client, RetryPolicy
from asr_client.testing import FakeServer
from tests.support.client.driver import Driver
from tests.support.client.many import CARD, Counted, Many, threads
from tests.support.client.waiting import wait_until


def test_early_close_cancels_what_is_in_flight_and_leaves_nothing(
    many: Many, server: FakeServer
) -> None:
    before = threads()
    server.delay_s = 60
    outcomes = many(itertools.cycle([CARD, CARD, CARD, "missing.wav"]), concurrency=4)
    assert isinstance(next(outcomes).error, FileNotFoundError)
    many.wait_for(lambda: len(server.requests) == 3)
    outcomes.close()
    assert many.tasks() == 0
    wait_until(lambda: all(request.ended_early.is_set() for request in server.requests))
    many.close_client()
    wait_until(lambda: threads() <= before)
    with pytest.raises(StopIteration):
        next(outcomes)


def test_the_end_cuts_waits_for_the_next_attempt_short(driver: Driver) -> None:
    slow = RetryPolicy(max_attempts=9, initial_backoff_s=600, max_backoff_s=600)
    before = threads()
    attempts: list[Attempt] = []
    with FakeServer() as server:
        many = Many(driver, server.url, retry=slow, timeout_s=3000, on_attempt=attempts.append)

    def items() -> Iterator[Path]:
        yield CARD
        wait_until(lambda: bool(attempts))
        raise ZeroDivisionError

    async def items_in_turn() -> AsyncIterator[Path]:
        yield CARD
        while not attempts:
            await asyncio.sleep(0.005)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(many(items() if driver.kind is Client else items_in_turn(), concurrency=2))
    assert attempts[0].pause_s is not None
    assert many.tasks() == 0
    many.close_client()
    wait_until(lambda: threads() <= before)


def test_an_error_of_the_source_ends_it(many: Many, server: FakeServer) -> None:
    before = threads()

    def items() -> Iterator[Any]:
        yield CARD
        raise ZeroDivisionError

    outcomes = many(items(), concurrency=2)
    with pytest.raises(ZeroDivisionError):
        list(outcomes)
    assert many.tasks() == 0
    many.close_client()
    wait_until(lambda: threads() <= before)


def test_a_closed_client_ends_the_iteration(many: Many) -> None:
    outcomes = many(Counted(), concurrency=2)
    next(outcomes)
    many.close_client()
    with pytest.raises(RuntimeError, match="closed"):
        list(outcomes)
    with pytest.raises(RuntimeError, match="closed"):
        many([CARD])


def test_leaving_the_loop_of_the_sync_client_closes(server: FakeServer) -> None:
    before = threads()
    with Client(server.url) as client:
        server.delay_s = 0.01
        for outcome in client.transcribe_many(Counted(), concurrency=3):
            assert outcome.result().text
            break
    wait_until(lambda: threads() <= before)


def test_ctrl_c_in_the_middle_of_waiting_ends_all(server: FakeServer) -> None:
    """The items' own thread is the one that waits; an exception there is what Ctrl-C is."""
    before = threads()

    def items() -> Iterator[Path]:
        yield CARD
        raise KeyboardInterrupt

    server.delay_s = 60
    with Client(server.url) as client, pytest.raises(KeyboardInterrupt):
        list(client.transcribe_many(items(), concurrency=2))
    wait_until(lambda: threads() <= before)


def test_ctrl_c_that_another_thread_takes_ends_all(server: FakeServer) -> None:
    """Nothing wakes the waiting one, as when it comes in the moment before the wait."""
    server.delay_s = 60

    def press() -> None:
        wait_until(lambda: bool(server.requests))
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    threading.Thread(target=press).start()
    with Client(server.url) as client, pytest.raises(KeyboardInterrupt):
        list(client.transcribe_many([CARD], concurrency=1))
    assert server.requests[-1].ended_early.wait(30)


async def test_cancelling_the_task_cancels_what_is_in_flight(server: FakeServer) -> None:
    server.delay_s = 60

    async def work(client: AsyncClient) -> None:
        async for _ in client.transcribe_many(Counted(), concurrency=3):
            pass

    async with AsyncClient(server.url) as client:
        task = asyncio.ensure_future(work(client))
        while len(server.requests) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(
            wait_until, lambda: all(one.ended_early.is_set() for one in server.requests)
        )
        assert len(asyncio.all_tasks()) == 1
