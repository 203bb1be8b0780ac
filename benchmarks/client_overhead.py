"""The SDK's calls and those of raw tritonclient with the same payload, in turn.

The server is a fake in a process of its own: it answers at once, so that the clients take
the larger part of the time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio

from asr_client import AsyncClient, Client
from tools.processes import child, serve_fake

OPTIONS = {
    "encoding": "pcm_s16le",
    "sample_rate": 16_000,
    "channels": 1,
    "timestamps": "word",
    "channel": "mix",
    "decoder": "greedy",
}
"""The options that the SDK sends for an array."""
WARM_UP = 50


@dataclass(frozen=True)
class Times:
    """Seconds of calls made in turn: the n-th of both lists follow each other."""

    raw_s: list[float]
    sdk_s: list[float]

    @property
    def raw_median_ms(self) -> float:
        """Of a call by tritonclient."""
        return 1e3 * statistics.median(self.raw_s)

    @property
    def sdk_median_ms(self) -> float:
        """Of a call by the SDK."""
        return 1e3 * statistics.median(self.sdk_s)

    @property
    def overhead_ms(self) -> float:
        """The median of the differences between the SDK's call and the one next to it."""
        return 1e3 * statistics.median(
            sdk - raw for sdk, raw in zip(self.sdk_s, self.raw_s, strict=True)
        )

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return self.sdk_median_ms / self.raw_median_ms


def threads(calls: int, *, audio_s: float = 1.0) -> Times:
    """`Client` and tritonclient's client for threads, one call at a time."""
    pcm = np.zeros(int(audio_s * 16_000), np.int16)
    with child(serve_fake) as pipe, Client(url := pipe.recv()) as sdk:
        raw = tritonclient.grpc.InferenceServerClient(url)

        async def by_raw() -> None:
            raw.infer("transcribe", _inputs(pcm), client_timeout=60).as_numpy("RESULT")

        async def by_sdk() -> None:
            sdk.transcribe(pcm, sample_rate=16_000)

        times = asyncio.run(_in_turn(calls, by_raw, by_sdk))
        raw.close()
    return times


def tasks(calls: int, *, audio_s: float = 1.0) -> Times:
    """`AsyncClient` and tritonclient's client for asyncio, one call at a time."""
    pcm = np.zeros(int(audio_s * 16_000), np.int16)

    async def run(url: str) -> Times:
        async with AsyncClient(url) as sdk, tritonclient.grpc.aio.InferenceServerClient(url) as raw:

            async def by_raw() -> None:
                answer = await raw.infer("transcribe", _inputs(pcm), client_timeout=60)
                answer.as_numpy("RESULT")

            async def by_sdk() -> None:
                await sdk.transcribe(pcm, sample_rate=16_000)

            return await _in_turn(calls, by_raw, by_sdk)

    with child(serve_fake) as pipe:
        return asyncio.run(run(pipe.recv()))


async def _in_turn(
    calls: int, raw: Callable[[], Awaitable[None]], sdk: Callable[[], Awaitable[None]]
) -> Times:
    times = Times([], [])
    for number in range(-WARM_UP, calls):
        turns = [(raw, times.raw_s), (sdk, times.sdk_s)]
        # The first call of two may slow down the second: each client is first every other time.
        for call, seconds in turns if number % 2 else reversed(turns):
            began_s = time.perf_counter()
            await call()
            if number >= 0:
                seconds.append(time.perf_counter() - began_s)
    return times


def _inputs(pcm: Any) -> list[Any]:
    """The inputs that a user of tritonclient makes for each call."""
    made = []
    for name, value in (("AUDIO", pcm.tobytes()), ("OPTIONS", json.dumps(OPTIONS).encode())):
        tensor = tritonclient.grpc.InferInput(name, [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[value]], np.object_))
        made.append(tensor)
    return made
