"""Every call is answered exactly once, whatever happens to its answer."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from asr_backend.triton_io import shared_memory
from asr_backend.triton_io.metrics import Metrics
from tests.support.backend.doubles import PbUtils, ResponseSender, SharedMemory
from tests.support.backend.front import PCM, Front, levels, request, text_of


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Front:
    """A front whose shared memory has no room for a transcript."""
    monkeypatch.setattr(SharedMemory, "free", 10)
    monkeypatch.setattr(SharedMemory, "asked", 0)
    monkeypatch.setattr(shared_memory, "FIRST_WAIT_S", 0.001)
    return Front(free_shared_memory=1000)


async def ended(front: Front) -> None:
    """Wait until all calls have ended; none of their tasks may have failed."""
    while not front.model._admission.is_empty():
        await front.model._admission.one_ended()


async def test_an_answer_without_room_is_an_error_that_another_server_may_not_give(full: Front):
    asked = request(levels("HELLO"))
    await full.answer(asked)
    message, status = asked.failure()
    assert message.startswith("OUT_OF_MEMORY: the server's shared memory has no room for an answer")
    assert status == "UNAVAILABLE"
    assert SharedMemory.asked == shared_memory.MAX_WAITS + 1
    assert full.pb_utils.metric("asr_errors_total", code="OUT_OF_MEMORY").value == 1


async def test_an_answer_waits_for_room(full: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_memory, "FIRST_WAIT_S", 1.0)
    asked = request(levels("HELLO"))
    await full.model.execute([asked])
    while not SharedMemory.asked:
        await asyncio.sleep(0.001)
    assert asked.response is None
    monkeypatch.setattr(SharedMemory, "free", math.inf)
    await ended(full)
    assert text_of(asked) == "HELLO"


async def test_an_answer_keeps_the_room_that_it_has_got(full: Front, monkeypatch):
    send = ResponseSender.send

    def full_again(self: ResponseSender, response: Any, *, flags: int) -> None:
        SharedMemory.free = 0
        send(self, response, flags=flags)

    monkeypatch.setattr(SharedMemory, "free", math.inf)
    monkeypatch.setattr(ResponseSender, "send", full_again)
    asked = request(levels("HELLO"))
    await full.answer(asked)
    assert text_of(asked) == "HELLO"


async def test_where_there_is_plenty_of_room_nothing_is_asked(
    front: Front, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(PbUtils, "InferenceRequest", None)
    asked = request(levels("HELLO"))
    await front.answer(asked)
    assert text_of(asked) == "HELLO"


@pytest.mark.parametrize("kind", ["answer", "error"])
async def test_what_cannot_be_sent_is_tried_once_and_logged(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
):
    """Triton accepts no second response, even if the first one is lost."""
    tries = []

    def broken(self: ResponseSender, response: Any, *, flags: int) -> None:
        tries.append(response.has_error())
        raise RuntimeError("the queue is broken")

    monkeypatch.setattr(ResponseSender, "send", broken)
    await front.model.execute([request(levels("X") if kind == "answer" else b"")])
    await ended(front)
    assert tries == [kind == "error"]
    logged = capsys.readouterr().err
    assert "its caller gets none" in logged
    assert "RuntimeError: the queue is broken" in logged
    assert "never retrieved" not in logged


@pytest.mark.parametrize("method", ["add", "observe"])
async def test_a_metric_that_fails_costs_nobody_an_answer(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
):
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no shared memory")

    monkeypatch.setattr(Metrics, method, broken)
    good, bad = request(levels("HELLO")), request(b"")
    await front.answer(good, bad)
    await ended(front)
    assert text_of(good) == "HELLO"
    assert bad.failure()[0].startswith("EMPTY_AUDIO")
    logged = capsys.readouterr().err
    assert "RuntimeError: no shared memory" in logged
    assert "never retrieved" not in logged


async def test_a_result_that_cannot_be_made_is_an_error(front: Front, monkeypatch):
    monkeypatch.setattr("asr_backend.front.transcribe.encode_result", lambda **_: 1 / 0)
    asked = request(levels("HELLO"))
    await front.answer(asked)
    assert asked.failure()[0].startswith("INTERNAL_ERROR")


async def test_a_cancelled_task_answers_too(front: Front):
    front.reader.gate.clear()
    asked = request(levels("HELLO"))
    await front.model.execute([asked])
    while not front.reader.in_flight:
        await asyncio.sleep(0.001)
    (task,) = front.model._admission._calls
    task.cancel()
    await ended(front)
    assert asked.failure()[1] == "CANCELLED"


async def test_a_long_result_is_the_same_as_a_short_one_would_be(front: Front):
    words = "ABCD " * 300
    asked = request(levels(words), PCM | {"timestamps": "char"})
    await front.answer(asked)
    result = json.loads(asked.output("RESULT")[0, 0])
    assert "".join(char["text"] for char in result["chars"]) == words.replace(" ", "")
