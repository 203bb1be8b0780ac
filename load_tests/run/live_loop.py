"""One measurement of live streams, seen from their side and from the server's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from asr_client import AsrError, AsyncClient, paced
from load_tests.report.server_side import Watch
from load_tests.report.tally import Tally
from load_tests.run.closed_loop import ONCE, Stretch
from load_tests.run.corpus import Clip
from load_tests.run.listener import CHUNK_S, HOP_S, Listener


def live_loop(
    url: str,
    metrics_url: str | None,
    *,
    streams: Sequence[Clip],
    server_pid: int | None = None,
    drain_s: float,
) -> Stretch:
    """Play streams side by side in real time, to their ends.

    They begin within one hop, at even distances, so that their looks are not in step.

    Args:
        url: HOST:PORT of the server.
        metrics_url: of its metrics page; None leaves the server's side out.
        streams: a live clip for each.
        server_pid: process id of asr-server, for CPU and memory, when it is on this machine.
        drain_s: time for the last finals after the end of the audio, seconds; a stream that is
            not ended then has failed.

    Raises:
        OSError: the metrics page cannot be fetched.
    """
    return asyncio.run(_live_loop(url, metrics_url, streams, server_pid, drain_s))


async def _live_loop(
    url: str,
    metrics_url: str | None,
    streams: Sequence[Clip],
    server_pid: int | None,
    drain_s: float,
) -> Stretch:
    tally = Tally()

    async def play(client: AsyncClient, clip: Clip, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        listener, text, began = Listener(), "", time.perf_counter()
        failure: Exception | None = None
        try:
            text = await asyncio.wait_for(
                _listen(client, clip, listener, began), clip.duration_s + drain_s
            )
        except (AsrError, asyncio.TimeoutError) as error:
            failure = error
        late_s = max(0.0, time.perf_counter() - began - clip.duration_s)
        tally.live.add(listener.tally)
        if failure is None:
            tally.answered(clip, late_s, text)
        else:
            tally.ended(clip, late_s, failure)

    watch = None if metrics_url is None else Watch(metrics_url, server_pid)
    if watch is not None:
        await asyncio.to_thread(watch.start)
    began = time.perf_counter()
    async with AsyncClient(url, retry=ONCE) as client:
        await asyncio.gather(
            *(
                play(client, clip, HOP_S * index / len(streams))
                for index, clip in enumerate(streams)
            )
        )
    took_s = time.perf_counter() - began
    server = None if watch is None else await asyncio.to_thread(watch.stop)
    return Stretch(tally=tally, duration_s=took_s, server=server)


async def _listen(client: AsyncClient, clip: Clip, listener: Listener, began: float) -> str:
    """Play a stream that begins now; the text of its finals."""
    samples, rate = np.frombuffer(clip.audio, "<i2"), clip.options["sample_rate"]
    async with client.stream(**clip.options) as live:
        async for event in live.run(paced(samples, sample_rate=rate, chunk_s=CHUNK_S)):
            listener.take(event, time.perf_counter() - began)
        return live.transcript.text
