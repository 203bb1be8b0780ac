"""`transcribe_many` of both clients against the fake."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_client import AsyncClient, Attempt, InvalidAudio, Outcome, Recording, Transcript
from asr_client.testing import FakeServer
from tests.support.client.driver import Driver
from tests.support.client.many import CARD, SILENCE, Counted, Many


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


def test_endless_items_are_asked_for_only_as_needed(driver: Driver, server: FakeServer) -> None:
    items = Counted()
    attempts: list[Attempt] = []
    many = Many(driver, server.url, on_attempt=attempts.append)
    outcomes = many(items, concurrency=3)
    assert items.asked == 0
    for taken in range(1, 30):
        next(outcomes)
        # In flight or finished and not yet taken, and the one in our hands.
        assert items.asked <= taken + 3
    # All has ended that was sent, and one item at most has been asked for and not been sent.
    many.wait_for(lambda: len(attempts) == len(server.requests) >= items.asked - 1)
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


def test_results_show_what_they_are_without_their_audio() -> None:
    audio = Recording(b"x" * 5_000_000, id="a")
    shown = repr(Outcome(item=audio, error=ValueError("no")))
    assert "<5000000 bytes>" in shown
    assert "id='a'" in shown
    assert len(shown) < 300
    assert len(repr(Outcome(item=b"x" * 5_000_000, error=ValueError("no")))) < 300
