"""Both clients with several servers, here fakes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import asr_client
from asr_client import AsyncClient, Client, RetryPolicy
from asr_client._transport import servers
from asr_client.testing import FakeServer, Fault, FlakyNetwork
from tests.support.client.driver import FAST, Driver
from tests.support.client.waiting import wait_until

SILENCE = np.zeros(8000, np.int16)
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    with FakeServer(text="a") as first, FakeServer(text="b") as second:
        yield [first, second]


@pytest.fixture
def client(driver: Driver, fakes: list[FakeServer]) -> Any:
    return driver.open([fake.url for fake in fakes])


def say(client: Any, **options: Any) -> str:
    return str(client.transcribe(SILENCE, sample_rate=16000, **options).text)


def counts(fakes: list[FakeServer]) -> list[int]:
    return [len(fake.requests) for fake in fakes]


def both_answer(client: Any) -> bool:
    return {say(client), say(client)} == {"a", "b"}


def test_calls_go_round(client: Any, fakes: list[FakeServer]) -> None:
    wait_until(lambda: both_answer(client))
    assert sorted(say(client) for _ in range(10)) == ["a"] * 5 + ["b"] * 5
    assert client.url == ",".join(fake.url for fake in fakes)


def test_a_server_that_is_gone_costs_no_call_and_comes_back(
    client: Any, fakes: list[FakeServer]
) -> None:
    wait_until(lambda: both_answer(client))
    fakes[0].stop()
    # Not a second attempt: the request was never sent to the server that is gone.
    assert {say(client, retry=ONCE) for _ in range(6)} == {"b"}
    fakes[0].start()
    wait_until(lambda: both_answer(client))


def test_a_server_that_drains_costs_no_call_and_comes_back(
    client: Any, fakes: list[FakeServer]
) -> None:
    wait_until(lambda: both_answer(client))
    fakes[1].ready = False
    assert {say(client) for _ in range(6)} == {"a"}
    fakes[1].ready = True
    wait_until(lambda: both_answer(client))


def test_a_server_that_never_was_ready_gets_no_requests(
    client: Any, fakes: list[FakeServer]
) -> None:
    fakes[0].ready = False
    assert {say(client, retry=ONCE) for _ in range(6)} == {"b"}
    assert counts(fakes) == [0, 6]


@pytest.mark.parametrize(
    "fault",
    [
        Fault.OUT_OF_MEMORY,
        Fault.STOPPING,
        Fault.CONNECTION_LOST,
        Fault.DEAD_FRONT,
        Fault.ENGINE_RESTARTING,
        Fault.QUEUE_FULL,
    ],
)
def test_elsewhere_is_elsewhere(client: Any, fakes: list[FakeServer], fault: Fault) -> None:
    wait_until(lambda: both_answer(client))
    before = counts(fakes)
    fakes[0].fail(fault, times=3)
    while counts(fakes)[0] == before[0]:
        assert say(client) == "b"
    assert counts(fakes)[0] == before[0] + 1


@pytest.mark.parametrize("fault", [Fault.OUT_OF_MEMORY, Fault.STOPPING, Fault.CONNECTION_LOST])
def test_one_server_s_own_trouble_is_left_at_once(
    driver: Driver, fakes: list[FakeServer], fault: Fault
) -> None:
    slow = RetryPolicy(initial_backoff_s=1000, max_backoff_s=1000)
    client = driver.open([fake.url for fake in fakes], retry=slow)
    wait_until(lambda: both_answer(client))
    for fake in fakes:
        fake.fail(fault)
        assert {say(client, timeout_s=30), say(client, timeout_s=30)} <= {"a", "b"}
        wait_until(lambda: both_answer(client))


def test_when_all_are_gone_the_error_says_so(driver: Driver, fakes: list[FakeServer]) -> None:
    client = driver.open([fake.url for fake in fakes])
    wait_until(lambda: both_answer(client))
    for fake in fakes:
        fake.stop()
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        say(client)
    # Each server once for nothing, then what the policy allows.
    assert 5 <= caught.value.attempts <= 7
    assert caught.value.address in {fake.url for fake in fakes}
    assert not client.is_ready()
    with pytest.raises(asr_client.ServerUnavailable):
        client.status()
    fakes[1].start()
    client.wait_until_ready(30)
    assert say(client) == "b"


def test_one_that_is_ready_is_enough(client: Any, fakes: list[FakeServer]) -> None:
    fakes[0].stop()
    assert client.is_ready()
    assert client.status().address == fakes[1].url
    assert client.info().address == fakes[1].url
    fakes[1].ready = False
    assert not client.is_ready()


def test_who_asks_with_little_patience_takes_no_server_out(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    with FlakyNetwork(fakes[0].url) as network:
        client = driver.open(network.url)
        assert client.is_ready()
        network.silence()
        assert not client.is_ready(timeout_s=0.05)
        (server,) = client._servers._servers.values()
        assert server.health is servers.Health.UNPROVEN


def test_a_server_that_accepts_and_says_nothing_is_left_out(
    driver: Driver, fakes: list[FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sender", "async_sender"):
        monkeypatch.setattr(f"asr_client._transport.{module}.PROBE_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = driver.open([f"127.0.0.1:{silent.getsockname()[1]}", fakes[0].url])
        assert {say(client, timeout_s=30, retry=ONCE) for _ in range(5)} == {"a"}


def test_a_server_behind_a_silent_connection_comes_back(
    driver: Driver, fakes: list[FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr_client._transport.connections.SILENCE_S", 0.4)
    for module in ("sender", "async_sender", "servers"):
        monkeypatch.setattr(f"asr_client._transport.{module}.PROBE_TIMEOUT_S", 0.5)
        monkeypatch.setattr(f"asr_client._transport.{module}.TRIAL_TIMEOUT_S", 0.5)
    monkeypatch.setattr("asr_client._transport.hedging.ASK_EVERY_S", 0.2)
    monkeypatch.setattr("asr_client._transport.hedging.ASK_TIMEOUT_S", 0.5)
    with FlakyNetwork(fakes[0].url) as network:
        client = driver.open([network.url, fakes[1].url])
        wait_until(lambda: both_answer(client))
        network.silence()
        with contextlib.suppress(asr_client.DeadlineExceeded):
            for _ in range(2):
                say(client, timeout_s=0.2)
        # The deadline was too short to tell; what asks the server finds out.
        wait_until(lambda: both_answer(client))


async def test_a_deadline_closes_no_connection_under_a_question(
    fakes: list[FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr_client._transport.connections.SILENCE_S", 0.8)
    monkeypatch.setattr("asr_client._transport.hedging.ASK_EVERY_S", 0.5)
    monkeypatch.setattr("asr_client._transport.hedging.ASK_TIMEOUT_S", 0.5)

    async def ask(timeout_s: float) -> str:
        return (await client.transcribe(SILENCE, sample_rate=16000, timeout_s=timeout_s)).text

    async def answered() -> set[str]:
        return {await ask(60), await ask(60)}

    with FlakyNetwork(fakes[0].url) as network:
        async with AsyncClient([network.url, fakes[1].url], retry=FAST) as client:
            while await answered() != {"a", "b"}:
                await asyncio.sleep(0.02)
            fakes[1].stop()
            # Two calls, so that one of them meets the server that is gone.
            await asyncio.gather(ask(60), ask(60))
            network.silence()
            waiting = asyncio.ensure_future(ask(1.0))
            with pytest.raises(asr_client.DeadlineExceeded):
                await ask(0.2)
            # No other server is left: this one gets it again, by a new connection.
            assert await ask(60) == "a"
            with pytest.raises(asr_client.DeadlineExceeded):
                await waiting


def test_an_overloaded_server_gets_few_extra_requests(fakes: list[FakeServer]) -> None:
    server, callers, calls = fakes[0], 8, 40
    server.fail(Fault.QUEUE_FULL, times=10_000)

    def fails(_: int) -> None:
        with pytest.raises(asr_client.ServerBusy):
            say(client)

    with Client(server.url, retry=FAST) as client, ThreadPoolExecutor(callers) as pool:
        list(pool.map(fails, range(calls)))
        first = len(server.requests)
        list(pool.map(fails, range(calls)))
    assert calls < first <= calls + 2 * callers
    assert len(server.requests) == first + calls


def test_a_call_may_have_retries_that_the_budget_does_not_bound(
    driver: Driver, fakes: list[FakeServer]
) -> None:
    client = driver.open(fakes[0].url)
    fakes[0].fail(Fault.QUEUE_FULL, times=49)
    patient = RetryPolicy(
        max_attempts=50, initial_backoff_s=0.001, max_backoff_s=0.001, budgeted=False
    )
    assert say(client, retry=patient) == "a"
    assert len(fakes[0].requests) == 50


class Resolver:
    """A DNS of one name."""

    def __init__(self) -> None:
        self.fakes: list[FakeServer] = []

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host != "asr.test" or not self.fakes:
            raise socket.gaierror("Name or service not known")
        ports = [int(fake.url.rpartition(":")[2]) for fake in self.fakes]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in ports]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    monkeypatch.setattr(servers, "LOOK_UP_S", 0.05)
    monkeypatch.setattr(servers, "LOOK_UP_AFTER_FAILURE_S", 0.0)
    return made


def test_a_name_stands_for_all_its_addresses_as_they_come_and_go(
    driver: Driver, fakes: list[FakeServer], resolver: Resolver
) -> None:
    resolver.fakes = fakes[:1]
    client = driver.open("dns:///asr.test:8001")
    assert {say(client) for _ in range(3)} == {"a"}
    resolver.fakes = fakes
    wait_until(lambda: both_answer(client))
    resolver.fakes = fakes[1:]
    wait_until(lambda: {say(client) for _ in range(3)} == {"b"})
    resolver.fakes = []
    assert {say(client) for _ in range(3)} == {"b"}


def test_an_unknown_name_is_an_unavailable_server(
    driver: Driver, fakes: list[FakeServer], resolver: Resolver
) -> None:
    client = driver.open("dns:///asr.test:8001")
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        say(client)
    assert caught.value.attempts == 5
    assert "asr.test:8001: Name or service not known" in caught.value.server_message
    assert not client.is_ready()
    resolver.fakes = fakes
    client.wait_until_ready(30)
    assert say(client) in "ab"


@pytest.mark.parametrize("url", [[], ["localhost:1", ""], ["http://localhost:1"], [None]])
def test_addresses_of_another_kind_are_refused(driver: Driver, url: Any) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        driver.open(url)
