"""A process whose live streams play through the SDK while somebody disturbs it or its servers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import psutil

from asr_client import AsyncClient, Attempt, Client, LiveTranscript, ModelInfo, Segment, paced
from benchmarks.live import RATE_HZ, talk

_NO_MODEL = ModelInfo(id="", revision="")


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of one stream."""

    seed: int
    finals: tuple[Segment, ...]
    skipped: int
    error: str
    """Empty where the stream came to its end."""
    longest_s: float
    """The longest time between two answered looks."""


@dataclass(frozen=True, kw_only=True)
class ClientSize:
    """What this process holds between two plays."""

    memory_bytes: int
    threads: int
    tasks: int
    files: int


class _Watch:
    """The `on_attempt` hook of one stream's client."""

    def __init__(self) -> None:
        self._answered_s = time.monotonic()
        self.longest_s = 0.0

    def __call__(self, attempt: Attempt) -> None:
        if attempt.status == "OK":
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - self._answered_s)
            self._answered_s = now


class LiveLoad:
    """Plays streams; every second one on asyncio.

    Args:
        addresses: of the servers.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def play(self, seeds: Sequence[int], speed: float) -> list[Played]:
        """Play a stream for each seed, all at once."""
        with ThreadPoolExecutor(len(seeds)) as pool:
            playing = [pool.submit(self._play, seed, speed) for seed in seeds]
            return [each.result() for each in playing]

    def size(self) -> ClientSize:
        """What the process holds now."""
        gc.collect()
        counting = asyncio.run_coroutine_threadsafe(_other_tasks(), self._loop)
        process = psutil.Process()
        return ClientSize(
            memory_bytes=process.memory_full_info().uss,
            threads=process.num_threads(),
            tasks=counting.result(),
            files=process.num_fds(),
        )

    def _play(self, seed: int, speed: float) -> Played:
        samples = np.frombuffer(talk(seed)[0], "<i2")
        audio = paced(samples, sample_rate=RATE_HZ, speed=speed)
        watch = _Watch()
        transcript, error = LiveTranscript(segments=(), skipped=()), ""
        if seed % 2:
            work = self._play_async(audio, watch)
            transcript, error = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        else:
            with (
                Client(self._addresses, on_attempt=watch) as client,
                client.stream(sample_rate=RATE_HZ) as live,
            ):
                try:
                    for _ in live.run(audio):
                        pass
                except Exception as failure:
                    error = repr(failure)
                transcript = live.transcript
        return Played(
            seed=seed,
            finals=tuple(replace(each, model=_NO_MODEL) for each in transcript.segments),
            skipped=len(transcript.skipped),
            error=error,
            longest_s=watch.longest_s,
        )

    async def _play_async(self, audio: Any, watch: _Watch) -> tuple[LiveTranscript, str]:
        async with (
            AsyncClient(self._addresses, on_attempt=watch) as client,
            client.stream(sample_rate=RATE_HZ) as live,
        ):
            try:
                async for _ in live.run(audio):
                    pass
            except Exception as failure:
                return live.transcript, repr(failure)
            return live.transcript, ""


async def _other_tasks() -> int:
    return len(asyncio.all_tasks()) - 1


def serve(pipe: Connection, addresses: Sequence[str]) -> None:
    """Play in a `child`: sends its process id, then an answer for each (seeds, speed).

    The answer is what was played, and the size of the process afterwards.
    """
    load = LiveLoad(addresses)
    pipe.send(os.getpid())
    with contextlib.suppress(EOFError):
        while True:
            seeds, speed = pipe.recv()
            pipe.send((load.play(seeds, speed), load.size()))


@dataclass
class Verdict:
    """Finals of disturbed streams beside those of undisturbed ones."""

    streams: int = 0
    finals: int = 0
    equal: int = 0
    """Streams whose joined finals are the same."""
    lost: int = 0
    twice: int = 0
    wrong: int = 0
    """Finals of frames, or with words or confidences, that the undisturbed stream does not have."""
    failed: int = 0
    """Streams that ended with an error, or skipped audio."""

    def add(self, played: Played, expected: Played, report: Callable[[str], None] = print) -> None:
        """Count one stream."""
        places = [(each.first_frame, each.frames) for each in played.finals]
        wanted = {(each.first_frame, each.frames): each for each in expected.finals}
        found = dict(zip(places, played.finals, strict=True))
        self.streams += 1
        self.finals += len(wanted)
        self.equal += played.finals == expected.finals
        self.lost += len(wanted.keys() - found.keys())
        self.twice += len(places) - len(found)
        self.wrong += sum(each != wanted.get(place) for place, each in found.items())
        self.failed += bool(played.error or played.skipped)
        if played.error or played.skipped:
            report(f"stream {played.seed}: {played.error}, {played.skipped} times skipped")


UNPACED = math.inf
