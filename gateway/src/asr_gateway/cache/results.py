"""Answers again what was answered before, and computes equal requests of one moment once."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol, TypeAlias

from asr_client import Transcript
from asr_gateway.cache import encoding
from asr_gateway.console import logger
from asr_gateway.metrics import CacheMetrics
from asr_gateway.store.cached_results import CachedResults
from asr_gateway.uploads import Upload

Mark: TypeAlias = Literal["hit", "joined", "miss", "bypass"]
"""How a request was answered: from the cache, by the recognition of an equal request, by one of its
own, or past the cache."""
Compute: TypeAlias = Callable[[Upload], Awaitable[Transcript]]


class Served(Protocol):
    """Tells what asr-server serves."""

    async def fingerprint(self) -> str | None:
        """The fingerprint of this moment; None if asr-server has none or does not answer."""
        ...


class RequestOptions(Protocol):
    """What asr-server is asked for."""

    @property
    def given(self) -> dict[str, object]:
        """The options that asr-server gets."""
        ...


@dataclass(eq=False)
class _Flight:
    """A recognition, or a look into the cache, and how many requests wait for it."""

    task: asyncio.Task[tuple[Transcript, Mark]]
    waiting: int = 0


class ResultCache:
    """The cache of results.

    A result is kept under the recording's hash, the options, and the fingerprint that the answer
    carried. It is looked up under the fingerprint that asr-server has at this moment. So no change
    of the model, the options or the language model brings an old answer.

    Args:
        served: tells the present fingerprint.
        store: keeps the results.
        metrics: of the cache.
    """

    def __init__(self, served: Served, store: CachedResults, metrics: CacheMetrics) -> None:
        self._served = served
        self._store = store
        self._metrics = metrics
        self._flights: dict[str, _Flight] = {}
        self._fingerprint: str | None = None
        """The last one."""

    async def answer(
        self, upload: Upload, options: RequestOptions, compute: Compute, *, fresh: bool = False
    ) -> tuple[Transcript, Mark]:
        """A kept answer, or a computed one, which is then kept.

        A cancelled caller does not end the recognition, unless it was the last one who waits.

        Args:
            upload: the recording; it may be closed as soon as this returns.
            options: for asr-server.
            compute: recognizes a recording.
            fresh: compute, whatever is kept, and keep nothing.

        Raises:
            Exception: whatever `compute` raises.
        """
        kept, guessed, fingerprint = None, self._fingerprint, None
        if not fresh:
            # Meanwhile what is kept under the last fingerprint, which has rarely changed.
            asking = asyncio.ensure_future(self._served.fingerprint())
            try:
                if guessed is not None:
                    kept = await self._kept(key_of(upload.sha256, options, guessed))
                fingerprint = await asking
            finally:
                asking.cancel()
        if fingerprint is None:
            self._metrics.answers.labels("bypass").inc()
            return await compute(upload), "bypass"
        self._fingerprint = fingerprint
        if kept is not None and fingerprint == guessed:
            self._metrics.answers.labels("hit").inc()
            return kept, "hit"
        key = key_of(upload.sha256, options, fingerprint)
        flight = self._flights.get(key)
        is_first = flight is None
        if flight is None:
            flight = self._start(key, _copy(upload), options, compute)
        transcript, mark = await self._wait(key, flight)
        if not is_first and mark == "miss":
            mark = "joined"
        self._metrics.answers.labels(mark).inc()
        return transcript, mark

    def _start(
        self, key: str, upload: Upload, options: RequestOptions, compute: Compute
    ) -> _Flight:
        flight = _Flight(asyncio.ensure_future(self._fly(key, upload, options, compute)))
        self._flights[key] = flight

        def ended(task: asyncio.Task[tuple[Transcript, Mark]]) -> None:
            upload.close()
            if self._flights.get(key) is flight:
                del self._flights[key]

        flight.task.add_done_callback(ended)
        return flight

    async def _fly(
        self, key: str, upload: Upload, options: RequestOptions, compute: Compute
    ) -> tuple[Transcript, Mark]:
        if (kept := await self._kept(key)) is not None:
            return kept, "hit"
        transcript = await compute(upload)
        if (fingerprint := transcript.model.fingerprint) is not None:
            await self._store.put(
                key_of(upload.sha256, options, fingerprint),
                audio_sha256=upload.sha256,
                value=await asyncio.to_thread(encoding.encode, transcript),
            )
        return transcript, "miss"

    async def _kept(self, key: str) -> Transcript | None:
        try:
            return await self._store.get(key, encoding.decode)
        except (ValueError, TypeError, LookupError) as error:
            self._metrics.failures.inc()
            logger.error("the cache has a damaged result: %r", error)
            return None

    async def _wait(self, key: str, flight: _Flight) -> tuple[Transcript, Mark]:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                if self._flights.get(key) is flight:
                    # Who comes now begins anew.
                    del self._flights[key]
                flight.task.cancel()
                await asyncio.gather(flight.task, return_exceptions=True)


def key_of(audio_sha256: str, options: RequestOptions, fingerprint: str) -> str:
    """The hash of all that a result depends on."""
    parts = [encoding.FORM, audio_sha256, options.given, fingerprint]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _copy(upload: Upload) -> Upload:
    """The same recording, which outlives the request."""
    file: BinaryIO
    if upload.on_disk:
        file = os.fdopen(os.dup(upload.file.fileno()), "rb")
    else:
        file = io.BytesIO(upload.read())
    return dataclasses.replace(upload, file=file)
