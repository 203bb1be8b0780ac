"""Long work of a front runs in threads; short work runs on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from asr_backend.ctc.greedy import GreedyDecoder
from asr_backend.ctc.transcription import Transcription
from asr_backend.front import emissions_reader, recognition, transcribe
from asr_backend.front.emissions_reader import EmissionsReader
from asr_backend.segmentation.stitching import Stitcher
from asr_backend.segmentation.windower import Window
from tests.support.backend.emissions import checkpoint
from tests.support.backend.front import PCM, Front, levels, request, text_of

SHORT, LONG = "HELLO WORLD", ("ABCD " * 600).strip()


class Threads:
    """Records whether functions were called in the event loop's thread."""

    def __init__(self) -> None:
        self._loop_thread = threading.get_ident()
        self.on_loop: list[bool] = []

    def watched(self, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.on_loop.append(threading.get_ident() == self._loop_thread)
            return function(*args, **options)

        return call


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.mark.parametrize(("words", "on_loop"), [(SHORT, True), (LONG, False)])
async def test_a_long_result_is_encoded_beside_the_loop(
    front: Front, monkeypatch: pytest.MonkeyPatch, threads: Threads, words: str, on_loop: bool
):
    encode = threads.watched(transcribe.encode_result)
    monkeypatch.setattr(transcribe, "encode_result", encode)
    asked = request(levels(words), PCM | {"timestamps": "char"})
    await front.answer(asked)
    assert text_of(asked) == words
    assert threads.on_loop == [on_loop]


@pytest.mark.parametrize(("words", "on_loop"), [(SHORT, True), (LONG, False)])
async def test_a_long_text_is_made_beside_the_loop(
    front: Front, monkeypatch: pytest.MonkeyPatch, threads: Threads, words: str, on_loop: bool
):
    monkeypatch.setattr(GreedyDecoder, "finish", threads.watched(GreedyDecoder.finish))
    asked = request(levels(words))
    await front.answer(asked)
    assert text_of(asked) == words
    assert threads.on_loop == [on_loop]


@pytest.mark.parametrize(("words", "on_loop"), [(SHORT, True), (LONG, False)])
async def test_long_channels_are_merged_beside_the_loop(
    front: Front, monkeypatch: pytest.MonkeyPatch, threads: Threads, words: str, on_loop: bool
):
    monkeypatch.setattr(recognition, "side_by_side", threads.watched(recognition.side_by_side))
    channels = np.repeat(np.frombuffer(levels(words), "<i2"), 2).tobytes()
    asked = request(channels, PCM | {"channels": 2, "channel": "separate"})
    await front.answer(asked)
    assert text_of(asked) == f"{words}\n{words}"
    assert threads.on_loop == [on_loop]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("limit", [32_000, 31_999])
async def test_many_log_probabilities_are_read_beside_the_loop(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, threads: Threads, limit: int
):
    monkeypatch.setattr(emissions_reader, "INLINE_EMISSIONS", limit)
    vocabulary = len(checkpoint().vocabulary)
    emissions = np.zeros((32_000 // vocabulary, vocabulary), np.float32)
    assert emissions.size == 32_000

    class Decoder:
        push = staticmethod(threads.watched(lambda log_probs: None))

        @staticmethod
        def finish(duration_s: float) -> Transcription:
            return Transcription(text="", confidence=0, words=(), chars=())

    reader = EmissionsReader(
        Stitcher(checkpoint()),
        Decoder(),  # type: ignore[arg-type]
        pool,
        always_in_pool=False,
    )
    window = Window(index=0, start_sample=0, samples=np.zeros(0, np.float32), last=True)
    await reader.push(window, emissions)
    await reader.finish(1.0)
    assert threads.on_loop == [limit >= emissions.size, True]


async def test_the_loop_goes_on_while_a_long_result_is_encoded(
    front: Front, monkeypatch: pytest.MonkeyPatch
):
    loop = asyncio.get_running_loop()
    encode = transcribe.encode_result

    def while_others_run(**options: Any) -> bytes:
        # On the event loop itself, this would wait for ever.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(60)
        return encode(**options)

    monkeypatch.setattr(transcribe, "encode_result", while_others_run)
    asked = request(levels(LONG), PCM | {"timestamps": "char"})
    await front.answer(asked)
    assert text_of(asked) == LONG
