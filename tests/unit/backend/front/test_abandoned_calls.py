"""A call that fails, or whose caller has gone, frees its resources at any stage of its work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest

from asr_backend.audio.source import Source
from asr_backend.ctc.search.library import PrefixSearch, SearchStopped
from asr_backend.front import admission
from tests.support.backend.doubles import ResponseSender
from tests.support.backend.front import PCM, Front, answered, levels, request, text_of


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "CALLER_POLL_S", 0.01)


class HungDecoder:
    """The decoder of the first recording hangs in its second block."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hangs = threading.Event()
        self.go_on = threading.Event()
        self.closed = threading.Event()
        self._begun = 0
        decode = Source.blocks
        monkeypatch.setattr(Source, "blocks", lambda *args: self._blocks(decode(*args)))

    def _blocks(self, blocks: Generator[Any, None, None]) -> Generator[Any, None, None]:
        self._begun += 1
        first = self._begun == 1
        try:
            for index, block in enumerate(blocks):
                if first and index == 1:
                    self.hangs.set()
                    assert self.go_on.wait(60)
                yield block
        finally:
            if first:
                self.closed.set()


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> HungDecoder:
    return HungDecoder(monkeypatch)


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 60)


async def test_a_caller_that_leaves_a_hung_decoder_is_answered(front: Front, decoder: HungDecoder):
    asked = request(levels("ABCD " * 40))
    await front.model.execute([asked])
    await until(decoder.hangs)
    asked.caller.cancelled = True
    await answered(asked)
    assert asked.failure()[1] == "CANCELLED"
    assert not decoder.closed.is_set()
    other = request(levels("OK"))
    await front.answer(other)
    assert text_of(other) == "OK"
    decoder.go_on.set()
    await until(decoder.closed)


async def test_a_channel_that_fails_leaves_no_decoder_of_another_open(
    front: Front,
    decoder: HungDecoder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """The other channel's generator runs in a thread then, and cannot be closed from outside."""
    decode = Source.blocks

    def second_fails(self: Source, channel: int, limits: Any) -> Generator[Any, None, None]:
        if channel == 1:
            assert decoder.hangs.wait(60)
            raise ZeroDivisionError
        yield from decode(self, channel, limits)

    monkeypatch.setattr(Source, "blocks", second_fails)
    asked = request(levels("ABCD " * 80), PCM | {"channels": 2, "channel": "separate"})
    await front.answer(asked)
    assert asked.failure()[0].startswith("INTERNAL_ERROR")
    assert "ZeroDivisionError" in capsys.readouterr().err
    decoder.go_on.set()
    await until(decoder.closed)
    assert "already executing" not in capsys.readouterr().err


async def test_a_caller_that_leaves_a_hung_network_is_answered(front: Front):
    front.reader.gate.clear()
    asked = request(levels("HELLO"))
    await front.model.execute([asked])
    while not front.reader.in_flight:
        await asyncio.sleep(0.001)
    asked.caller.cancelled = True
    await answered(asked)
    assert asked.failure()[1] == "CANCELLED"
    assert front.pb_utils.metric("asr_cancelled_total").value == 1


async def test_a_caller_that_leaves_a_search_ends_it(front: Front, monkeypatch: pytest.MonkeyPatch):
    searching, go_on = threading.Event(), threading.Event()
    ends = []
    find = PrefixSearch.find

    def held(self: PrefixSearch, *args: Any, **options: Any) -> Any:
        searching.set()
        assert go_on.wait(60)
        try:
            found = find(self, *args, **options)
        except SearchStopped:
            ends.append("stopped")
            raise
        ends.append("found")
        return found

    monkeypatch.setattr(PrefixSearch, "find", held)
    asked = request(levels("ABCD " * 200), PCM | {"decoder": "beam"})
    await front.model.execute([asked])
    await until(searching)
    asked.caller.cancelled = True
    await answered(asked)
    assert asked.failure()[1] == "CANCELLED"
    go_on.set()
    # There is one thread for searches.
    other = request(levels("OK"), PCM | {"decoder": "beam"})
    await front.answer(other)
    assert text_of(other) == "OK"
    assert ends == ["stopped", "found"]


async def test_callers_that_wait_keep_their_calls(front: Front, monkeypatch: pytest.MonkeyPatch):
    questions = []

    def no(self: ResponseSender) -> bool:
        assert not self._caller.is_closed
        questions.append(1)
        return False

    monkeypatch.setattr(ResponseSender, "is_cancelled", no)
    front.reader.gate.clear()
    calls = [request(levels("OK")) for _ in range(5)]
    await front.model.execute(list(calls))
    while len(questions) < 50:
        await asyncio.sleep(0.001)
    assert all(call.response is None for call in calls)
    front.reader.gate.set()
    await answered(*calls)
    assert {text_of(call) for call in calls} == {"OK"}
