"""The jobs of one gateway: their parts, and how these begin and end."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asr_gateway.errors import ApiError
from asr_gateway.jobs.housekeeping import keep_tidy
from asr_gateway.jobs.outbound import Outbound
from asr_gateway.jobs.runner import Runner
from asr_gateway.jobs.webhooks import TIMEOUT_S, Webhooks
from asr_gateway.keys import NOBODY, Key, Keys
from asr_gateway.metrics import JobMetrics
from asr_gateway.recognition import Recognizer
from asr_gateway.settings import Settings
from asr_gateway.store.blobs import Blobs
from asr_gateway.store.cached_results import CachedResults
from asr_gateway.store.database import SQLITE, sqlite_file
from asr_gateway.store.job_rows import Row
from asr_gateway.store.jobs import JobStore
from asr_gateway.store.transactions import Transactions


class Jobs:
    """What the routes use, and the work in the background.

    Args:
        settings: of the gateway.
        metrics: of the jobs.
        recognizer: of jobs alone.
        cached: the results that requests are answered with.
        keys: of the callers; None without `--keys`.
        blobs: the recordings.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: JobMetrics,
        recognizer: Recognizer,
        cached: CachedResults,
        keys: Keys | None,
        blobs: Blobs,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._keys = keys
        self._cached = cached
        self.blobs = blobs
        self._transactions = Transactions(settings.store_url)
        self.store = JobStore(self._transactions, owner=_owner())
        self.outbound = Outbound(allow_private=settings.allow_private_urls, timeout_s=TIMEOUT_S)
        self._webhooks = Webhooks(self.store, self.outbound, self._secret_of, metrics)
        self._runner = Runner(
            self.store,
            self.blobs,
            recognizer,
            self._key_of,
            metrics,
            at_once=settings.max_jobs_at_once,
            on_end=self._webhooks.wake,
        )
        metrics.min_free_bytes.set(settings.min_free_bytes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopped = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs and webhooks during the block; its end returns unfinished jobs to the queue."""
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.ensure_future(self._runner.run())
        others = (
            asyncio.ensure_future(self._webhooks.run()),
            asyncio.ensure_future(
                keep_tidy(
                    self.store,
                    self._transactions,
                    self.blobs,
                    self._metrics,
                    keep_s=self._settings.keep_jobs_s,
                    free_bytes=self._free_bytes,
                )
            ),
        )
        try:
            yield
        finally:
            self._stop_taking()
            await asyncio.gather(self._running, return_exceptions=True)
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self.outbound.close()
            self._transactions.close()

    def drain(self) -> None:
        """Take no more jobs, and give all leases back; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop_taking)

    def wake(self) -> None:
        """A job has come."""
        self._runner.wake()

    async def cancel(self, row: Row) -> bool:
        """End a job before its time; False if it has ended already."""
        cancelled = await self.store.cancel({"id": row["id"]})
        if cancelled:
            self._metrics.ended.labels("cancelled").inc()
            self._runner.abandon(row["id"])
            self._webhooks.wake()
            await asyncio.to_thread(self.blobs.remove, row["id"])
        return cancelled

    async def delete(self, row: Row) -> bool:
        """Remove a job, its recording and its result; False if it is not there any more."""
        deleted = await self.store.delete({"id": row["id"]})
        self._runner.abandon(row["id"])
        await asyncio.to_thread(self.blobs.remove, row["id"])
        await self._cached.forget(row["audio_sha256"])
        return deleted

    async def check_room(self, size: int) -> None:
        """Refuse a recording of so many bytes that would not leave enough room.

        Raises:
            ApiError: 507.
        """
        if await asyncio.to_thread(self._free_bytes) - size < self._settings.min_free_bytes:
            raise ApiError(
                507,
                "The gateway's store is nearly full.",
                type="server_error",
                code="store_full",
            )

    def _free_bytes(self) -> int:
        free = self.blobs.free_bytes()
        if self._settings.store_url.startswith(SQLITE):
            file = sqlite_file(self._settings.store_url)
            free = min(free, shutil.disk_usage(file.parent).free)
        return free

    def _stop_taking(self) -> None:
        # Once: a second cancellation would interrupt the return of the leases.
        if self._running is not None and not self._stopped:
            self._stopped = True
            self._running.cancel()

    def _key_of(self, name: str) -> Key:
        found = self._keys.named(name) if self._keys is not None else None
        return found or NOBODY.model_copy(update={"name": name, "admin": False})

    def _secret_of(self, name: str) -> str | None:
        return self._key_of(name).webhook_secret


def _owner() -> str:
    """Names this gateway in its leases."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
