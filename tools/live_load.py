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

from asr_client import AsyncClient, Attempt, Client, ModelInfo, Segment, StreamLost, paced
from benchmarks.live import RATE_HZ, talk

MAX_RESUMES = 4
_NO_MODEL = ModelInfo(id="", revision="")


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of one stream."""

    seed: int
    finals: tuple[Segment, ...]
    skipped: int
    resumed: int
    """How often another stream went on, after StreamLost."""
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
        if seed % 2:
            work = self._play_async(audio, watch)
            played = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        else:
            played = self._play_here(audio, watch)
        *transcripts, error = played
        segments = [each for transcript in transcripts for each in transcript.segments]
        return Played(
            seed=seed,
            finals=tuple(replace(each, model=_NO_MODEL) for each in segments),
            skipped=sum(len(transcript.skipped) for transcript in transcripts),
            resumed=len(transcripts) - 1,
            error=error,
            longest_s=watch.longest_s,
        )

    def _play_here(self, audio: Any, watch: _Watch) -> list[Any]:
        """The transcripts of the stream and of those that resumed it, then the error."""
        found: list[Any] = []
        with Client(self._addresses, on_attempt=watch) as client:
            stream = client.stream(sample_rate=RATE_HZ)
            while len(found) <= MAX_RESUMES:
                try:
                    with stream as live:
                        for _ in live.run(audio):
                            pass
                    return [*found, live.transcript, ""]
                except StreamLost as lost:
                    found.append(live.transcript)
                    stream, audio = client.stream(resume=lost), []
                except Exception as failure:
                    return [*found, live.transcript, repr(failure)]
        return [*found, f"resumed {MAX_RESUMES} times"]

    async def _play_async(self, audio: Any, watch: _Watch) -> list[Any]:
        found: list[Any] = []
        async with AsyncClient(self._addresses, on_attempt=watch) as client:
            stream = client.stream(sample_rate=RATE_HZ)
            while len(found) <= MAX_RESUMES:
                try:
                    async with stream as live:
                        async for _ in live.run(audio):
                            pass
                    return [*found, live.transcript, ""]
                except StreamLost as lost:
                    found.append(live.transcript)
                    stream, audio = client.stream(resume=lost), []
                except Exception as failure:
                    return [*found, live.transcript, repr(failure)]
        return [*found, f"resumed {MAX_RESUMES} times"]


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
    resumed: int = 0
    """Times that a stream went on in another one, after StreamLost."""
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
        self.resumed += played.resumed
        self.failed += bool(played.error or played.skipped)
        if played.error or played.skipped:
            report(f"stream {played.seed}: {played.error}, {played.skipped} times skipped")


UNPACED = math.inf
