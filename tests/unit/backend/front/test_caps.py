"""The limits of a front's unfinished work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from asr_backend.audio.source import Source
from asr_backend.front.transcribe import MAX_UNFINISHED_CALLS
from asr_backend.front.window_budget import CROWDED
from tests.support.backend.front import Front, answered, levels, request, text_of


async def test_long_recordings_share_the_bound_and_short_ones_pass_them(front: Front):
    long = [request(levels("ABCD " * 200)) for _ in range(3)]
    short = request(levels("OK"))
    front.reader.gate.clear()
    await front.model.execute(list(long))
    assert front.reader.in_flight == 2
    task = asyncio.create_task(front.model.execute([short]))
    while front.reader.in_flight < 3:
        await asyncio.sleep(0.001)
    front.reader.gate.set()
    await task
    await answered(short)
    assert text_of(short) == "OK"
    assert any(one.response is None for one in long)
    await answered(*long)
    assert {text_of(one) for one in long} == {("ABCD " * 200).strip()}


@pytest.fixture
def patient() -> Iterator[Front]:
    """Another front, far from its limit."""
    patient = Front()
    patient.reader.gate.clear()
    yield patient
    patient.model.finalize()


@pytest.mark.parametrize("limit", [{"max_audio_s": 30}, {"max_audio_bytes": 960_000}])
async def test_at_the_cap_execute_waits(limit: dict[str, int], patient: Front):
    front = Front(max_unfinished=1, **limit)
    front.reader.gate.clear()
    await front.model.execute([request(levels("ABCD " * 100))])  # 20 s, 640,640 bytes
    second = request(levels("ABCD " * 100))
    waiting = asyncio.create_task(front.model.execute([second]))
    await asyncio.sleep(0)  # it begins first
    await patient.model.execute([request(levels("OK"))])
    assert not waiting.done()
    front.reader.gate.set()
    await waiting


async def test_short_clips_have_a_cap_too(front: Front, patient: Front):
    front.reader.gate.clear()
    clips = [request(levels("O")) for _ in range(MAX_UNFINISHED_CALLS)]
    await front.model.execute(clips[:-1])
    waiting = asyncio.create_task(front.model.execute(clips[-1:]))
    await asyncio.sleep(0)  # it begins first
    await patient.model.execute([request(levels("OK"))])
    assert not waiting.done()
    front.reader.gate.set()
    await waiting
    await answered(*clips)


async def test_short_clips_at_the_network_fill_a_front(front: Front, patient: Front):
    front.reader.gate.clear()
    room_s = CROWDED * front.model._recognizer.budget.max_samples / 16_000
    clip_s = 1.6
    clips = [request(levels("ABCD " * 8)) for _ in range(round(room_s / clip_s) + 1)]
    for clip in clips[:-2]:
        await front.model.execute([clip])
    waiting = asyncio.create_task(front.model.execute(clips[-2:-1]))
    while front.reader.in_flight < len(clips) - 1:
        await asyncio.sleep(0.001)
    await patient.model.execute([request(levels("OK"))])
    assert not waiting.done()
    front.reader.gate.set()
    await waiting
    await front.model.execute(clips[-1:])
    await answered(*clips)


@pytest.mark.parametrize("words", ["OK", "ABCD " * 100])
async def test_execute_waits_for_no_answer(words: str, front: Front):
    front.reader.gate.clear()
    asked = request(levels(words))
    await front.model.execute([asked])
    assert asked.response is None
    front.reader.gate.set()
    await answered(asked)


async def test_execute_does_not_wait_long_for_a_length(front: Front, monkeypatch):
    monkeypatch.setattr("asr_backend.front.admission.LENGTH_WAIT_S", 0.01)
    decoded = threading.Event()
    decode = Source.blocks

    def slow(*args: Any) -> Iterator[Any]:
        decoded.wait(60)
        yield from decode(*args)

    monkeypatch.setattr(Source, "blocks", slow)
    asked = request(levels("OK"))
    await front.model.execute([asked])
    assert not front.reader.windows
    decoded.set()
    await answered(asked)
