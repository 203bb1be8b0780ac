"""Several servers behind one client, one of which takes recordings and answers none of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import asr_client
from asr_client import AsyncClient, Attempt, Client, RetryPolicy
from asr_client.testing import FakeServer, Fault, FlakyNetwork
from tests.support.client.driver import FAST, Driver
from tests.support.client.waiting import wait_until

CLIP = np.zeros(1600, np.int16)
TIMEOUT_S = 1.2


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    with FakeServer(text="a", delay_s=0.02) as first, FakeServer(text="b", delay_s=0.02) as second:
        yield [first, second]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are called silent, and tried again, sooner than in earnest."""
    monkeypatch.setattr("asr_client._transport.server.SILENT_AFTER_S", 0.4)
    monkeypatch.setattr("asr_client._transport.server.FIRST_PROBE_S", 0.1)


def urls(fakes: list[FakeServer]) -> list[str]:
    return [fake.url for fake in fakes]


def say(client: Any, **options: Any) -> str:
    return str(client.transcribe(CLIP, sample_rate=16_000, **options).text)


def both_answer(client: Any) -> bool:
    return {say(client), say(client)} == {"a", "b"}


def state(client: Any, fake: FakeServer) -> asr_client.ServerHealth:
    (found,) = (server for server in client.servers if server.address == fake.url)
    return found  # type: ignore[no-any-return]


# Leaving out and taking back.


def test_a_server_that_hangs_is_left_out_and_comes_back_when_it_answers(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    client = driver.open(urls(fakes), timeout_s=TIMEOUT_S)
    wait_until(lambda: both_answer(client))
    fakes[0].hung = True
    assert {say(client) for _ in range(6)} == {"b"}
    assert state(client, fakes[0]).state == "silent"
    assert state(client, fakes[0]).left_out
    assert state(client, fakes[1]).state == "up"
    # It says all the time that it is ready; that brings no call there.
    assert client.is_ready()
    before = len(fakes[0].requests)
    wait_until(lambda: say(client) == "b" and len(fakes[0].requests) > before)
    trial = fakes[0].requests[-1]
    assert trial.request_id.startswith("trial-")
    assert trial.options == (
        b'{"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1, "timestamps": "none"}'
    )
    fakes[0].hung = False
    wait_until(lambda: both_answer(client))
    assert state(client, fakes[0]).reason == ""


def test_one_server_alone_gets_every_call_whatever_became_of_the_last(
    driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url)
    server.hung = True
    for _ in range(3):
        with pytest.raises(asr_client.DeadlineExceeded):
            say(client, timeout_s=0.4)
    assert len(server.requests) == 3
    server.hung = False
    assert say(client) == "seven of clubs"


def test_slow_servers_whose_callers_are_impatient_are_not_lost(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    client = driver.open(urls(fakes))
    for fake in fakes:
        fake.delay_s = 0.6
    for _ in range(4):
        with pytest.raises(asr_client.DeadlineExceeded):
            say(client, timeout_s=0.3)
    assert say(client) in "ab"
    wait_until(lambda: both_answer(client))


# A second server for what the first one has.


def test_a_call_that_needs_more_than_half_of_its_time_gets_it(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    client = driver.open(urls(fakes))
    wait_until(lambda: both_answer(client))
    for fake in fakes:
        fake.delay_s = 0.9
    assert say(client, timeout_s=1.5) in "ab"
    assert {server.state for server in client.servers} == {"up"}


def test_both_attempts_are_told_and_the_slower_one_is_cancelled(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    told: list[Attempt] = []
    client = driver.open(urls(fakes), on_attempt=told.append)
    wait_until(lambda: both_answer(client))
    fakes[0].hung = True
    while state(client, fakes[0]).state == "up":
        told.clear()
        assert say(client, timeout_s=1.2) == "b"
    slow, quick = told
    assert [slow.number, quick.number] == [1, 2]
    assert [slow.address, quick.address] == urls(fakes)
    assert [slow.status, quick.status] == ["CANCELLED", "OK"]
    assert slow.left_out == state(client, fakes[0]).reason
    assert slow.left_out.startswith("another server answered first")
    assert quick.left_out == ""
    assert fakes[0].requests[-1].ended_early.wait(30)


@pytest.mark.parametrize("policy", [RetryPolicy(max_attempts=1), FAST])
def test_a_second_server_is_a_retry_like_any_other(
    driver: Driver, fakes: list[FakeServer], policy: RetryPolicy
) -> None:
    client = driver.open(urls(fakes), retry=policy)
    wait_until(lambda: both_answer(client))
    while policy.max_attempts > 1 and client._client._budget.take():
        pass
    fakes[0].hung = True
    deadlines = 0
    for _ in range(2):
        try:
            assert say(client, timeout_s=1.2) == "b"
        except asr_client.DeadlineExceeded as error:
            assert (error.address, error.attempts) == (fakes[0].url, 1)
            deadlines += 1
    assert deadlines == 1
    assert state(client, fakes[0]).reason.startswith("no answer within ")


def test_a_refusal_of_the_recording_ends_both_attempts(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    client = driver.open(urls(fakes))
    wait_until(lambda: both_answer(client))
    fakes[0].hung = True
    fakes[1].fail(Fault.CORRUPT_AUDIO, times=2)
    for _ in range(2):
        with pytest.raises(asr_client.InvalidAudio) as caught:
            say(client, timeout_s=1.2)
        assert caught.value.address == fakes[1].url
    assert fakes[0].requests[-1].ended_early.wait(30)


def test_when_the_second_fails_the_first_one_s_answer_counts(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    told: list[Attempt] = []
    client = driver.open(urls(fakes), on_attempt=told.append)
    wait_until(lambda: both_answer(client))
    fakes[0].delay_s = 0.6
    fakes[1].fail(Fault.QUEUE_FULL, times=10)
    told.clear()
    texts = {say(client, timeout_s=1) for _ in range(2)}
    assert texts == {"a"}
    assert {attempt.status for attempt in told} == {"UNAVAILABLE", "OK"}


@pytest.fixture
def quick_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_client._transport.hedging.ASK_EVERY_S", 0.3)
    monkeypatch.setattr("asr_client._transport.hedging.ASK_TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("quick_questions")
def test_a_server_that_gives_no_sign_of_life_costs_seconds_not_the_deadline(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    with FlakyNetwork(fakes[0].url) as network:
        client = driver.open([network.url, fakes[1].url], timeout_s=3000)
        wait_until(lambda: both_answer(client))
        network.silence()
        assert {say(client), say(client)} == {"b"}
        (silent, _) = client.servers
        assert silent.reason == "it did not say within 0.5 s that it is alive"


@pytest.mark.usefixtures("quick_questions")
def test_where_there_is_no_other_the_same_one_gets_it_by_a_new_connection(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    with FlakyNetwork(fakes[0].url) as network:
        client = driver.open([network.url, fakes[1].url], timeout_s=3000)
        wait_until(lambda: both_answer(client))
        fakes[1].stop()
        assert {say(client), say(client)} == {"a"}
        network.silence()
        assert say(client) == "a"


@pytest.mark.usefixtures("quick_questions")
def test_a_long_recording_at_a_server_that_lives_stays_there(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    told: list[Attempt] = []
    client = driver.open(urls(fakes), timeout_s=3000, on_attempt=told.append)
    wait_until(lambda: both_answer(client))
    told.clear()
    for fake in fakes:
        fake.delay_s = 1.2
    assert say(client) in "ab"
    assert [attempt.status for attempt in told] == ["OK"]


# The end of a call that two servers have.


def two_have_it(fakes: list[FakeServer]) -> bool:
    ids = [{request.request_id for request in fake.requests} for fake in fakes]
    return bool(ids[0] & ids[1])


async def test_cancelling_the_task_cancels_both(fakes: list[FakeServer]) -> None:
    told: list[Attempt] = []
    async with AsyncClient(urls(fakes), retry=FAST, on_attempt=told.append) as client:
        while {server.state for server in client.servers} != {"up"}:
            await client.transcribe(CLIP, sample_rate=16_000)
        told.clear()
        for fake in fakes:
            fake.hung = True
        task = asyncio.create_task(client.transcribe(CLIP, sample_rate=16_000, timeout_s=1.2))
        while not two_have_it(fakes):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [attempt.status for attempt in told] == ["CANCELLED"] * 2
        # Nobody waited until the deadline, which says nothing about the servers.
        assert {server.state for server in client.servers} == {"up"}
        for fake in fakes:
            assert await asyncio.to_thread(fake.requests[-1].ended_early.wait, 30)


async def test_closing_the_async_client_ends_both(fakes: list[FakeServer]) -> None:
    async with AsyncClient(urls(fakes), retry=FAST) as client:
        while {server.state for server in client.servers} != {"up"}:
            await client.transcribe(CLIP, sample_rate=16_000)
        for fake in fakes:
            fake.hung = True
        task = asyncio.create_task(client.transcribe(CLIP, sample_rate=16_000, timeout_s=1.2))
        while not two_have_it(fakes):
            await asyncio.sleep(0.02)
        await client.close()
        with pytest.raises(asr_client.Cancelled):
            await task


def test_closing_the_client_ends_both(fakes: list[FakeServer]) -> None:
    errors: list[BaseException] = []
    client = Client(urls(fakes), retry=FAST)
    wait_until(lambda: both_answer(client))
    for fake in fakes:
        fake.hung = True

    def call() -> None:
        try:
            say(client, timeout_s=1.2)
        except asr_client.AsrError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: two_have_it(fakes))
    client.close()
    thread.join(30)
    assert [type(error) for error in errors] == [asr_client.Cancelled]


def test_leaving_the_loop_of_many_ends_both(fakes: list[FakeServer]) -> None:
    with Client(urls(fakes), retry=FAST, timeout_s=1.2) as client:
        wait_until(lambda: both_answer(client))
        for fake in fakes:
            fake.hung = True
        fakes[0].hung = False
        items = [asr_client.Recording(CLIP, sample_rate=16_000) for _ in range(3)]
        outcomes = client.transcribe_many(items, concurrency=2)
        next(outcomes)
        fakes[0].hung = True
        wait_until(lambda: two_have_it(fakes))
        outcomes.close()
        assert {server.state for server in client.servers} == {"up"}
        for fake in fakes:
            assert fake.requests[-1].ended_early.wait(30)


# What is told of it.


def test_the_log_says_that_a_server_is_left_out_and_taken_back(
    driver: Driver, fakes: list[FakeServer], caplog: pytest.LogCaptureFixture
) -> None:
    client = driver.open(urls(fakes), timeout_s=TIMEOUT_S)
    wait_until(lambda: both_answer(client))
    fakes[0].hung = True
    with caplog.at_level(logging.INFO, "asr_client"):
        wait_until(lambda: say(client) == "b" and state(client, fakes[0]).left_out)
        fakes[0].hung = False
        wait_until(lambda: both_answer(client))
    out, back = (record for record in caplog.records if record.message.startswith("server"))
    fields = {key: value for key, value in vars(out).items() if key.startswith("asr_")}
    reason = fields.pop("asr_reason")
    assert "another server answered first" in reason
    assert (out.message, fields) == (
        "server left out",
        {"asr_address": fakes[0].url, "asr_state": "silent"},
    )
    assert (back.message, vars(back)["asr_address"]) == ("server taken back", fakes[0].url)
