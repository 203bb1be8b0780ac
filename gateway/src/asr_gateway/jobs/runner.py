"""Takes jobs from the store and sends them to asr-server, a few at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import State

from asr_client import (
    AsrError,
    AuthenticationError,
    Cancelled,
    InvalidRequest,
    MessageTooLarge,
    OutOfMemory,
    ServerUnavailable,
    Transcript,
)
from asr_gateway.console import logger
from asr_gateway.errors import ApiError
from asr_gateway.jobs import request, transcripts
from asr_gateway.keys import Key
from asr_gateway.metrics import JobMetrics
from asr_gateway.recognition import Recognizer
from asr_gateway.store.blobs import Blobs
from asr_gateway.store.database import reason
from asr_gateway.store.job_rows import End, Row
from asr_gateway.store.jobs import JobStore
from asr_gateway.uploads import Upload

POLL_S = 1.0
"""How soon a job of another gateway, or of a lapsed lease, is found."""
MAX_FAULTS = 3
"""A job fails at so many failures that are neither its own nor those of a server that is away."""
FAULT_PAUSE_S = 5.0
MAX_PAUSE_S = 30.0
"""Between looks whether asr-server takes recordings again."""
STORE_TRIES = 5
"""How often an end is written before the lease is left to lapse."""


class Runner:
    """Runs the jobs of one gateway.

    Args:
        store: of the jobs.
        blobs: their recordings.
        recognizer: of jobs alone, so that requests do not wait behind them.
        key_of: the key of a job by its name, for its limits.
        metrics: of the jobs.
        at_once: jobs at the same time.
        on_end: is called after each end.
    """

    def __init__(
        self,
        store: JobStore,
        blobs: Blobs,
        recognizer: Recognizer,
        key_of: Callable[[str], Key],
        metrics: JobMetrics,
        *,
        at_once: int,
        on_end: Callable[[], None],
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._recognizer = recognizer
        self._key_of = key_of
        self._metrics = metrics
        self._at_once = at_once
        self._on_end = on_end
        self._running: dict[str, tuple[Row, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._resume_s = 0.0
        self._pause_s = POLL_S

    def wake(self) -> None:
        """A job has come."""
        self._wake.set()

    def abandon(self, id: str) -> None:
        """Stop a job that is not this gateway's any more; nothing happens if it does not run."""
        if id in self._running:
            self._running[id][1].cancel()

    async def run(self) -> None:
        """Take jobs, until cancelled; then return to the queue what has not ended."""
        renewing = asyncio.ensure_future(self._keep_renewing())
        try:
            while True:
                self._wake.clear()
                await self._guarded(self._take)
                try:
                    await asyncio.wait_for(self._wake.wait(), POLL_S)
                except asyncio.TimeoutError:
                    continue
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._guarded(self._give_back)

    async def _guarded(self, step: Callable[[], Any]) -> None:
        """Run a step; a failure is logged, and the next step tries again."""
        try:
            await step()
        except SQLAlchemyError as error:
            self._metrics.store_failures.inc()
            logger.error("jobs wait for the store: %s", reason(error))
        except Exception:
            logger.exception("a step of the jobs failed")

    async def _take(self) -> None:
        self._metrics.queued.set(await self._store.queued())
        room = self._at_once - len(self._running)
        if room <= 0 or asyncio.get_running_loop().time() < self._resume_s:
            return
        for row in await self._store.claim(room):
            # Its lease may have lapsed here, where the machine or its clock stood still.
            self.abandon(row["id"])
            task = asyncio.ensure_future(self._work(row))
            self._running[row["id"]] = (row, task)
            self._metrics.running.set(len(self._running))
            task.add_done_callback(lambda task, row=row: self._left(row, task))  # type: ignore[misc]

    def _left(self, row: Row, task: asyncio.Task[None]) -> None:
        if self._running.get(row["id"], (None, None))[1] is task:
            del self._running[row["id"]]
        self._metrics.running.set(len(self._running))
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            logger.error("job %s", row["id"], exc_info=task.exception())

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._store.lease_s / 3)
            await self._guarded(self._renew)

    async def _renew(self) -> None:
        held = [row for row, _ in self._running.values()]
        kept = await self._store.renew(held)
        for row in held:
            current = self._running.get(row["id"])
            if row["id"] not in kept and current is not None and current[0] is row:
                self._metrics.leases_lost.inc()
                self.abandon(row["id"])

    async def _give_back(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._metrics.returned.inc(await self._store.give_back())

    async def _work(self, row: Row) -> None:
        """One claimed job, to its end or back into the queue."""
        try:
            transcript = await self._recognize(row)
        except FileNotFoundError:
            await self._end(row, _failed("audio_missing", "The recording is gone."))
        except OSError as error:
            logger.error("job %s: its recording cannot be read: %s", row["id"], error)
            await self._wait_for_server(row)
        except ApiError as error:
            await self._after_error(row, error)
        except Exception:
            logger.exception("job %s failed", row["id"])
            await self._after_fault(row, "internal_error", "The gateway failed.")
        else:
            self._pause_s = POLL_S
            stored = transcripts.to_json(transcript)
            await self._end(
                row,
                End(status="succeeded", audio_s=transcript.duration_s, transcript=stored),
            )

    async def _recognize(self, row: Row) -> Transcript:
        asked = request.from_json(row["request"])
        file = await _opened(self._blobs.path(row["id"]))
        upload = Upload(
            file=file,
            name="",
            size=row["audio_bytes"],
            sha256=row["audio_sha256"],
            fields=(),
        )
        state = State({"caller": self._key_of(row["key"]), "request_id": row["request_id"]})
        try:
            return await self._recognizer.recognize(upload, asked.options, state)
        finally:
            upload.close()

    async def _after_error(self, row: Row, error: ApiError) -> None:
        cause = error.__cause__
        if _is_away(cause):
            logger.warning("job %s waits for asr-server: %s", row["id"], error.message)
            await self._wait_for_server(row)
            return
        self._pause_s = POLL_S
        code = error.code or "failed"
        own = isinstance(cause, (InvalidRequest, MessageTooLarge))
        if own or (not isinstance(cause, AsrError) and error.status < 500):
            await self._end(row, _failed(code, error.message))
        else:
            await self._after_fault(row, code, error.message)

    async def _after_fault(self, row: Row, code: str, message: str) -> None:
        """A failure that may be a defect of the server or of what the recording does to it."""
        faults = row["faults"] + 1
        if faults >= MAX_FAULTS:
            await self._end(row, _failed(code, message))
            return
        logger.warning("job %s is tried again: %s", row["id"], message)
        await self._put_back(row, faults=1, pause_s=FAULT_PAUSE_S * faults)

    async def _wait_for_server(self, row: Row) -> None:
        """The server cannot take recordings now: nothing is claimed for a while."""
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._resume_s = asyncio.get_running_loop().time() + pause_s
        self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s)
        await self._put_back(row)

    async def _put_back(self, row: Row, *, faults: int = 0, pause_s: float = 0.0) -> None:
        kept = await self._store.put_back(row, faults=faults, pause_s=pause_s)
        (self._metrics.returned if kept else self._metrics.leases_lost).inc()

    async def _end(self, row: Row, end: End) -> None:
        for left in reversed(range(STORE_TRIES)):
            try:
                ended = await self._store.end(row, end)
                break
            except SQLAlchemyError as error:
                self._metrics.store_failures.inc()
                logger.error("the end of job %s is not written: %s", row["id"], reason(error))
                if not left:
                    return
                await asyncio.sleep(POLL_S)
        if not ended:
            self._metrics.leases_lost.inc()
            return
        self._metrics.ended.labels(end.status).inc()
        self._on_end()
        await asyncio.to_thread(self._blobs.remove, row["id"])


async def _opened(path: Path) -> BinaryIO:
    """The file, opened in a thread; it is closed again if the caller is cancelled meanwhile."""
    opening = asyncio.ensure_future(asyncio.to_thread(path.open, "rb"))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opened: asyncio.Task[BufferedReader]) -> None:
    if opened.exception() is None:
        opened.result().close()


def _is_away(cause: BaseException | None) -> bool:
    """Whether asr-server takes no recording now, whatever it is."""
    if isinstance(cause, OutOfMemory):
        return False
    return isinstance(cause, (ServerUnavailable, AuthenticationError, Cancelled))


def _failed(code: str, message: str) -> End:
    return End(status="failed", error_code=code, error_message=message)
