"""`transcribe_many` of both clients against the fake."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_client import (
    AsyncClient,
    Client,
    InvalidAudio,
    Outcome,
    Recording,
    RetryPolicy,
    ServerBusy,
    Transcript,
    _many,
)
from asr_client._core import Call
from asr_client._many import Job, Plan
from asr_client._pace import Pace
from asr_client.testing import FakeServer, Fault
from tests.recordings import FOLDER
from tests.unit.client.conftest import FAST, Driver

CARD = FOLDER / "cards-003-seven-of-clubs.wav"
SILENCE = np.zeros(1600, np.int16)


class Many:
    """Either client's iterator behind the ordinary protocol."""

    def __init__(self, driver: Driver, url: str, **settings: Any) -> None:
        self._loop = driver.loop
        self._client = driver.kind(url, **{"retry": FAST, **settings})
        driver.opened.append(self._client)
        self._outcomes: Any = None

    def __call__(self, items: Any, **options: Any) -> Many:
        self._outcomes = self._client.transcribe_many(items, **options)
        return self

    def __iter__(self) -> Many:
        return self

    def __next__(self) -> Outcome[Any]:
        if isinstance(self._client, Client):
            made: Outcome[Any] = next(self._outcomes)
            return made
        try:
            return self._loop.run_until_complete(self._outcomes.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        if isinstance(self._client, Client):
            self._outcomes.close()
        else:
            self._loop.run_until_complete(self._outcomes.aclose())

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """The loop has to run for what its tasks have begun to go on."""

        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        self._loop.run_until_complete(asyncio.wait_for(wait(), 20))

    def tasks(self) -> int:
        return len(asyncio.all_tasks(self._loop))

    def close_client(self) -> None:
        if isinstance(self._client, Client):
            self._client.close()
        else:
            self._loop.run_until_complete(self._client.close())


@pytest.fixture
def many(driver: Driver, server: FakeServer) -> Many:
    return Many(driver, server.url)


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def threads() -> set[str]:
    """All but those of the fake and of an event loop's own pool."""
    names = {thread.name for thread in threading.enumerate()}
    # gRPC's own poller serves all asynchronous channels of the process and outlives each of them.
    others = ("fake-asr", "asyncio_", "poll_wrapper")
    return {name for name in names if not any(other in name for other in others)}


class Counted(Iterator[Any]):
    """Endless, and knows how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __next__(self) -> Any:
        self.asked += 1
        return Recording(SILENCE, id=self.asked, sample_rate=16_000)


def test_every_item_comes_back_with_its_transcript(many: Many, server: FakeServer) -> None:
    arrays = [np.full(1600, value, np.int16) for value in range(20)]
    for value, array in enumerate(arrays):
        server.answer(array, f"text {value}", sample_rate=16_000)
    outcomes = list(many(arrays, concurrency=4, sample_rate=16_000))
    assert {id(outcome.item) for outcome in outcomes} == set(map(id, arrays))
    for outcome in outcomes:
        assert outcome.error is None
        assert outcome.result() is outcome.transcript
        assert outcome.result().text == f"text {outcome.item[0]}"
    assert len(server.requests) == 20


def test_items_may_be_all_that_transcribe_takes(many: Many) -> None:
    items = [str(CARD), CARD, CARD.read_bytes(), io.BytesIO(CARD.read_bytes()), Recording(CARD)]
    outcomes = list(many(items))
    assert [outcome.result().text for outcome in outcomes] == ["seven of clubs"] * len(items)
    assert list(many([])) == []


def test_a_recording_has_options_of_its_own(many: Many, server: FakeServer) -> None:
    items = [
        Recording(SILENCE, id="a", sample_rate=8000, timestamps="char"),
        Recording(SILENCE, id="b", channel=0),
    ]
    list(many(items, sample_rate=16_000, timestamps="none", concurrency=1))
    sent = [json.loads(request.options) for request in server.requests]
    assert [(one["sample_rate"], one["timestamps"], one["channel"]) for one in sent] == [
        (8000, "char", "mix"),
        (16000, "none", 0),
    ]


def test_a_recording_may_be_a_class_of_the_callers(many: Many) -> None:
    @dataclass(frozen=True, eq=False)
    class Call(Recording):
        _: KW_ONLY
        customer: int

    outcomes = list(many([Call(CARD, customer=7)]))
    assert outcomes[0].item.customer == 7


def test_failing_items_hold_nothing_up(many: Many) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise ZeroDivisionError("a reader's own error")

    items = [b"no audio", "missing.wav", CARD, Broken(), SILENCE, 5, CARD]
    outcomes = {index: outcome for index, outcome in enumerate(many(items, concurrency=1))}
    errors = [type(outcomes[index].error) for index in range(len(items))]
    assert errors == [
        InvalidAudio,
        FileNotFoundError,
        type(None),
        ZeroDivisionError,
        ValueError,  # An array without a rate.
        TypeError,
        type(None),
    ]
    with pytest.raises(FileNotFoundError):
        outcomes[1].result()
    assert "missing.wav" in repr(outcomes[1])


def test_endless_items_are_asked_for_only_as_needed(many: Many) -> None:
    items = Counted()
    outcomes = many(items, concurrency=3)
    assert items.asked == 0
    for taken in range(1, 30):
        next(outcomes)
        # In flight or finished and not yet taken, and the one in our hands.
        assert items.asked <= taken + 3
    time.sleep(0.2)
    assert items.asked <= 29 + 3
    outcomes.close()


def test_no_more_than_concurrency_are_in_flight(many: Many, server: FakeServer) -> None:
    server.delay_s = 0.05
    server.capacity = 3
    assert len(list(many([CARD] * 12, concurrency=3))) == 12
    assert len(server.requests) == 12


def test_what_finished_is_handed_out_before_the_next_is_asked_for(
    many: Many, server: FakeServer
) -> None:
    taken: list[Any] = []

    def items() -> Iterator[Any]:
        for number in range(10):
            # All that the server answered before is with the caller: it was one at a time.
            assert len(taken) == number == len(server.requests)
            yield CARD

    for outcome in many(items(), concurrency=1):
        taken.append(outcome)
    assert len(taken) == 10


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
    eventually(lambda: all(request.ended_early.is_set() for request in server.requests))
    many.close_client()
    eventually(lambda: threads() <= before)
    with pytest.raises(StopIteration):
        next(outcomes)


def test_the_end_cuts_waits_for_the_next_attempt_short(driver: Driver) -> None:
    slow = RetryPolicy(max_attempts=9, initial_backoff_s=600, max_backoff_s=600)
    before = threads()
    with FakeServer() as server:
        many = Many(driver, server.url, retry=slow, timeout_s=3000)

    def items() -> Iterator[Path]:
        yield CARD
        time.sleep(0.3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(many(items(), concurrency=2))
    assert many.tasks() == 0
    many.close_client()
    eventually(lambda: threads() <= before)


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
    eventually(lambda: threads() <= before)


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
    outcomes = list(many([CARD] * 3, concurrency=2, timeout_s=1.5))
    assert [type(outcome.error) for outcome in outcomes] == [ServerBusy] * 3
    error = outcomes[0].error
    assert isinstance(error, ServerBusy)
    assert error.attempts > 1
    assert error.elapsed_s >= 1.5


def test_with_retries_off_a_refusal_is_an_error_at_once(many: Many, server: FakeServer) -> None:
    server.fail(Fault.QUEUE_FULL)
    outcomes = list(many([CARD, CARD], concurrency=1, retry=RetryPolicy(max_attempts=1)))
    assert [type(outcome.error) for outcome in outcomes] == [ServerBusy, type(None)]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"concurrency": 0}, ValueError),
        ({"concurrency": 1.5}, TypeError),
        ({"timeout_s": 0}, ValueError),
    ],
)
def test_wrong_arguments_are_errors_of_the_call_itself(
    many: Many, options: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        many([CARD], **options)
    with pytest.raises(TypeError):
        many(5)


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
    eventually(lambda: threads() <= before)


def test_ctrl_c_in_the_middle_of_waiting_ends_all(server: FakeServer) -> None:
    """The items' own thread is the one that waits; an exception there is what Ctrl-C is."""
    before = threads()

    def items() -> Iterator[Path]:
        yield CARD
        raise KeyboardInterrupt

    server.delay_s = 60
    with Client(server.url) as client, pytest.raises(KeyboardInterrupt):
        list(client.transcribe_many(items(), concurrency=2))
    eventually(lambda: threads() <= before)


def test_ctrl_c_that_another_thread_takes_ends_all(server: FakeServer) -> None:
    """Nothing wakes the waiting one, as when it comes in the moment before the wait."""
    server.delay_s = 60

    def press() -> None:
        eventually(lambda: bool(server.requests))
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
            eventually, lambda: all(one.ended_early.is_set() for one in server.requests)
        )
        assert len(asyncio.all_tasks()) == 1


async def test_waiting_for_an_asynchronous_source_holds_nothing_up(server: FakeServer) -> None:
    asked = asyncio.Event()
    never = asyncio.Event()

    async def items() -> AsyncIterator[Path]:
        for _ in range(3):
            yield CARD
        asked.set()
        await never.wait()

    taken: list[Transcript] = []
    async with AsyncClient(server.url) as client:
        async with aclosing(client.transcribe_many(items(), concurrency=8)) as outcomes:
            async for outcome in outcomes:
                taken.append(outcome.result())
                if len(taken) == 3:
                    await asyncio.wait_for(asked.wait(), 20)
                    break
        assert len(asyncio.all_tasks()) == 1


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
            call.gives_way = True
            return Job(item=item, call=call, settings={})

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


def test_results_show_what_they_are_without_their_audio() -> None:
    audio = Recording(b"x" * 5_000_000, id="a")
    shown = repr(Outcome(item=audio, error=ValueError("no")))
    assert "<5000000 bytes>" in shown
    assert "id='a'" in shown
    assert len(shown) < 300
    assert len(repr(Outcome(item=b"x" * 5_000_000, error=ValueError("no")))) < 300
