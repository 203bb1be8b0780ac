"""One measurement: callers in a closed loop, seen from their side and from the server's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr_client import AsrError, AsyncClient, Client, RetryPolicy
from load_tests.report.server_side import ServerFigures, Watch
from load_tests.report.tally import Tally
from load_tests.run.corpus import Clip

ONCE = RetryPolicy(max_attempts=1)
"""A failure is counted, not sent again."""

CALL_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of load; several of one load add up."""

    tally: Tally
    """The counts of its calls."""

    duration_s: float
    """Its length without the warm-up, seconds."""

    server: ServerFigures | None
    """The server's side of it; None without its metrics page."""


def closed_loop(
    url: str,
    metrics_url: str | None,
    *,
    concurrency: int,
    duration_s: float,
    warm_up_s: float,
    corpus: Sequence[Clip],
    seed: int = 0,
    server_pid: int | None = None,
    drain_s: float | None = None,
) -> Stretch:
    """Keep `concurrency` calls in flight and count those that end after the warm-up.

    Callers take the next clip of one shared sequence, which goes through the corpus again and
    again, each time in another order: what is sent does not depend on the concurrency.

    Args:
        url: HOST:PORT of the server.
        metrics_url: of its metrics page; None leaves the server's side out.
        concurrency: calls in flight.
        duration_s: length of the stretch that counts, seconds.
        warm_up_s: load before it that does not count, seconds.
        corpus: the clips to send.
        seed: of the order of the clips.
        server_pid: process id of asr-server, for CPU and memory, when it is on this machine.
        drain_s: time for the calls in flight at the end, which are not counted, seconds; then they
            are cancelled. None waits for all.

    Raises:
        OSError: the metrics page cannot be fetched.
    """
    watch = None if metrics_url is None else Watch(metrics_url, server_pid)
    clips = endless(corpus, seed)
    return asyncio.run(_closed_loop(url, clips, concurrency, warm_up_s, duration_s, watch, drain_s))


async def _closed_loop(
    url: str,
    clips: Iterator[Clip],
    concurrency: int,
    warm_up_s: float,
    duration_s: float,
    watch: Watch | None,
    drain_s: float | None,
) -> Stretch:
    tally, counts, over = Tally(), False, False

    async def call_on() -> None:
        while not over:
            clip, began, text = next(clips), time.perf_counter(), ""
            failure: AsrError | None = None
            try:
                text = (await client.transcribe(clip.audio, **clip.options)).text
            except AsrError as error:
                failure = error
            latency_s = time.perf_counter() - began
            if counts and failure is None:
                tally.answered(clip, latency_s, text)
            elif counts and failure is not None:
                tally.ended(clip, latency_s, failure)

    async with AsyncClient(url, timeout_s=CALL_TIMEOUT_S, retry=ONCE) as client:
        callers = [asyncio.create_task(call_on()) for _ in range(concurrency)]
        await asyncio.sleep(warm_up_s)
        if watch is not None:
            await asyncio.to_thread(watch.start)
        began, counts = time.perf_counter(), True
        await asyncio.sleep(duration_s)
        took_s, counts, over = time.perf_counter() - began, False, True
        server = None if watch is None else await asyncio.to_thread(watch.stop)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*callers), drain_s)
    return Stretch(tally=tally, duration_s=took_s, server=server)


def transcripts_alone(
    url: str, corpus: Sequence[Clip], *, call_timeout_s: float = CALL_TIMEOUT_S
) -> dict[str, str]:
    """The transcript of each good clip by its name, from calls one after the other.

    Raises:
        AsrError: a call failed.
    """
    with Client(url, timeout_s=call_timeout_s) as client:
        return {clip.name: _alone(client, clip) for clip in corpus if clip.refusal is None}


def _alone(client: Client, clip: Clip) -> str:
    if not clip.is_live:
        return client.transcribe(clip.audio, **clip.options).text
    # Finals do not depend on the looks, so a stream need not play in real time for them.
    with client.stream(**clip.options, interim=False) as live:
        for _ in live.run([clip.audio]):
            pass
        return live.transcript.text


def endless(corpus: Sequence[Clip], seed: int | str) -> Iterator[Clip]:
    """The corpus again and again, each time in another order."""
    generator = random.Random(seed)
    for _ in itertools.count():
        yield from generator.sample(corpus, len(corpus))
