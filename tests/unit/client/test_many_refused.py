"""`transcribe_many` against a server that is too busy for it."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr_client import (
    AsyncClient,
    InvalidAudio,
    Outcome,
    Recording,
    RetryPolicy,
    ServerBusy,
    Transcript,
    _many,
)
from asr_client._many import Job, Plan
from asr_client._transport.call import Call
from asr_client._transport.pace import Pace
from asr_client.testing import FakeServer, Fault
from tests.support.client.driver import FAST
from tests.support.client.many import CARD, Many


def test_a_busy_server_gets_fewer_at_once_and_loses_nothing(many: Many, server: FakeServer) -> None:
    server.capacity = 2
    server.delay_s = 0.02
    items = [Recording(CARD, id=number) for number in range(60)]
    outcomes = list(many(items, concurrency=16))
    assert sorted(outcome.item.id for outcome in outcomes) == list(range(60))
    assert all(outcome.error is None for outcome in outcomes)
    # Sixteen at a time for each of sixty would be hundreds of refusals.
    refused = len(server.requests) - 60
    assert 0 < refused < 90


def test_a_file_object_that_was_refused_is_not_read_again(many: Many, server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL, times=7)
    outcomes = list(many([io.BytesIO(CARD.read_bytes())]))
    assert outcomes[0].result().text == "seven of clubs"
    assert {request.audio for request in server.requests} == {CARD.read_bytes()}
    assert len(server.requests) == 8


def test_a_server_that_refuses_everything_is_given_up(many: Many, server: FakeServer) -> None:
    server.capacity = 0
    # Each try has the whole limit, and on a busy machine one took longer than half a second.
    outcomes = list(many([CARD] * 3, concurrency=2, timeout_s=3))
    assert [type(outcome.error) for outcome in outcomes] == [ServerBusy] * 3
    error = outcomes[0].error
    assert isinstance(error, ServerBusy)
    assert error.attempts > 1
    assert error.elapsed_s >= 3


def test_with_retries_off_a_refusal_is_an_error_at_once(many: Many, server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL)
    outcomes = list(many([CARD, CARD], concurrency=1, retry=RetryPolicy(max_attempts=1)))
    assert [type(outcome.error) for outcome in outcomes] == [ServerBusy, type(None)]
    assert len(server.requests) == 2


async def test_a_refused_recording_does_not_wait_for_the_source(server: FakeServer) -> None:
    answered = asyncio.Event()

    async def items() -> AsyncIterator[Path]:
        yield CARD
        await answered.wait()

    async def work() -> list[str]:
        async with AsyncClient(server.url, retry=FAST) as client:
            texts = []
            async for outcome in client.transcribe_many(items(), concurrency=2):
                texts.append(outcome.result().text)
                answered.set()
            return texts

    server.fail(Fault.QUEUE_FULL)
    assert await asyncio.wait_for(work(), 20) == ["seven of clubs"]


class Refusing:
    """Takes two recordings only to refuse them, then one at a time, 100 s for each."""

    TIMEOUT_S = 60.0

    def __init__(self) -> None:
        self.now = 0.0
        self.refused = 0
        self.left_s: list[float] = []
        self._both = threading.Barrier(2)

    def plan(self) -> Plan[bytes]:
        def job(item: bytes) -> Job[bytes]:
            call = Call(
                address="asr:8001", timeout_s=self.TIMEOUT_S, policy=FAST, clock=lambda: self.now
            )
            call.yield_on_busy = True
            return Job(item=item, call=call, options={})

        pace = Pace(2, policy=FAST, patience_s=60)
        return Plan(concurrency=2, pace=pace, job=job, check=lambda: None)

    def send(self, job: Job[bytes]) -> Any:
        if self.refused < 2:
            self._both.wait(20)
            self.refused += 1
            raise ServerBusy(status="UNAVAILABLE")
        self.left_s.append(job.call.remaining_s())
        self.now += 100

    async def send_from_a_task(self, job: Job[bytes]) -> Any:
        return await asyncio.to_thread(self.send, job)


def test_waiting_for_a_turn_takes_nothing_from_a_recording_s_time() -> None:
    server = Refusing()
    outcomes = _many.in_threads(iter([b"1", b"2"]), server.plan(), server.send, print)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert server.left_s == [server.TIMEOUT_S] * 2


async def test_the_same_with_tasks() -> None:
    server = Refusing()
    outcomes = _many.in_tasks(iter([b"1", b"2"]), server.plan(), server.send_from_a_task)
    assert [outcome.error async for outcome in outcomes] == [None, None]
    assert server.left_s == [server.TIMEOUT_S] * 2


@pytest.mark.parametrize(("attempts", "given_up"), [(1, False), (0, True)])
def test_a_server_that_answers_with_errors_is_not_given_up_as_busy(
    attempts: int, given_up: bool
) -> None:
    """Unless nothing was sent, as for audio over the client's own limit."""
    now = 0.0
    plan = Refusing().plan()
    plan = replace(plan, pace=Pace(2, policy=FAST, patience_s=60, clock=lambda: now))

    def ends_with(error: Exception) -> Outcome[bytes] | None:
        def result() -> Transcript:
            raise error

        return plan.settle(plan.started(plan.job(b"")), result)

    busy = ServerBusy(status="UNAVAILABLE")
    assert ends_with(busy) is None
    now = 59.0
    assert ends_with(InvalidAudio(status="INVALID_ARGUMENT", attempts=attempts)) is not None
    now = 61.0
    assert (ends_with(busy) is not None) == given_up
