"""A front with doubles of Triton and the network, and audio whose words it can spell."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from asr_backend.audio.limits import AudioLimits
from asr_backend.ctc.decoders import Decoders
from asr_backend.front.recognition import Recognizer
from asr_backend.front.transcribe import Transcribe
from asr_backend.front.window_budget import WindowBudget
from asr_backend.front.work_limits import WorkLimits
from asr_backend.triton_io.errors import Cancelled
from asr_backend.triton_io.metrics import Metrics
from asr_backend.triton_io.shared_memory import SharedMemory
from tests.support.backend.doubles import PbUtils, Request
from tests.support.backend.emissions import BASE_VOCABULARY, checkpoint, emissions, spell

STRIDE = 320
PCM = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}


def levels(text: str) -> bytes:
    """PCM in which each frame's level is the number of its symbol; a blank follows each letter."""
    symbols = [symbol for letter in text for symbol in (*spell(letter), "<pad>")]
    ids = [BASE_VOCABULARY.index(symbol) for symbol in symbols]
    return np.repeat(np.array([*ids, 0], "<i2") * 1000, STRIDE).tobytes()


class Reader:
    """A network that reads levels; each answer may be held back or fail."""

    def __init__(self) -> None:
        self.windows: list[int] = []
        self.precedences: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def log_probs(
        self, samples: np.ndarray, is_cancelled: Any, language: str | None, precedence: str
    ) -> np.ndarray:
        if is_cancelled():
            raise Cancelled
        if self.error:
            raise self.error
        self.windows.append(samples.size)
        self.precedences.append(precedence)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.in_flight -= 1
        count = (samples.size - 400) // STRIDE + 1
        ids = np.round(samples[np.arange(count) * STRIDE + STRIDE // 2] * 32.768).astype(int)
        return emissions([BASE_VOCABULARY[index] for index in ids])


class Front:
    """A front with the double of Triton."""

    def __init__(
        self,
        *,
        max_unfinished: float = 1e6,
        max_audio_s: float = 600,
        max_audio_bytes: int = 10**8,
        work_limits: WorkLimits | None = None,
        free_shared_memory: int = 2**30,
    ) -> None:
        limits = AudioLimits(max_audio_s=max_audio_s, max_audio_bytes=max_audio_bytes)
        self.pb_utils = PbUtils()
        self.reader = Reader()
        self.metrics = Metrics(self.pb_utils)
        self.model = Transcribe(
            recognizer=Recognizer(
                checkpoint=checkpoint(),
                acoustic=self.reader,
                limits=limits,
                max_window_s=2.0,
                overlap_s=0.4,
                budget=WindowBudget(64_000),
                decode_pool=ThreadPoolExecutor(2),
                decoders=Decoders(checkpoint()),
                search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
                work_limits=work_limits or WorkLimits(),
            ),
            pb_utils=self.pb_utils,
            metrics=self.metrics,
            max_unfinished=max_unfinished,
            shared_memory=SharedMemory(self.pb_utils, free=lambda: free_shared_memory),
        )

    async def answer(self, *requests: Request) -> None:
        await self.model.execute(list(requests))
        await answered(*requests)


async def answered(*requests: Request) -> None:
    while any(request.response is None for request in requests):
        await asyncio.sleep(0.001)


def request(audio: bytes, options: dict[str, Any] | None = None, **fields: Any) -> Request:
    raw = json.dumps(PCM if options is None else options).encode()
    return Request(
        AUDIO=np.array([[audio]], dtype=object), OPTIONS=np.array([[raw]], dtype=object), **fields
    )


def text_of(request: Request) -> str:
    return request.output("TEXT")[0, 0].decode()
