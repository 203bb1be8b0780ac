"""The recognition log in the store."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Delete, Engine, Update, and_, delete, insert, select, update

from asr_gateway.console import logger
from asr_gateway.metrics import Metrics
from asr_gateway.store.database import reason
from asr_gateway.store.schema import cached_results, recognitions

Row = Mapping[str, Any]
_INSERT = insert(recognitions)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recognition."""

    id: str
    created_at: float
    """Seconds since 1970."""
    key: str
    """The name of the caller's key."""
    audio_s: float | None
    """None where no answer said it."""
    audio_bytes: int
    audio_sha256: str
    model: str | None
    revision: str | None
    fingerprint: str | None
    """None where no answer said it, and with an older asr-server."""
    options: Mapping[str, Any]
    outcome: str
    """"succeeded", "cancelled", or asr-server's code in lower case."""
    timing_ms: Mapping[str, float]
    request_id: str
    call_id: str | None
    text: str | None
    """None without --log-text."""


def new_id() -> str:
    """An id; ids sort by time."""
    return f"rec_{int(time.time() * 1000):012x}{secrets.token_hex(8)}"


class RecognitionLog:
    """Writes and reads the log without holding up the event loop.

    Entries that come while others are being written share the next transaction.

    Args:
        engine: the store.
        metrics: counts entries that could not be written.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._writer = ThreadPoolExecutor(1, "recognition-log")
        self._pending: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, entry: Entry) -> asyncio.Future[None]:
        """Write an entry; the future is done when it is on disk, or lost, which is logged."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((entry, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())
        return written

    async def find(
        self, filters: Mapping[str, str], *, after: str | None, limit: int
    ) -> tuple[list[Row], bool]:
        """Entries that equal all filters, newest first, and whether there are more.

        Args:
            filters: values by column.
            after: the id of the last entry that the caller has; None begins with the newest.
            limit: the most entries.
        """
        condition = _all_of(filters)
        if after is not None:
            condition = and_(condition, recognitions.c.id < after)
        query = select(recognitions).where(condition).order_by(recognitions.c.id.desc())

        def read() -> list[Row]:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query.limit(limit + 1)).mappings()]

        found = await asyncio.to_thread(read)
        return found[:limit], len(found) > limit

    async def delete(self, filters: Mapping[str, str]) -> int:
        """Remove entries that equal all filters, and say how many there were.

        Cached results of their recordings go too.
        """
        found = _all_of(filters)
        recordings = select(recognitions.c.audio_sha256).where(found)
        return await self._in_writer(
            delete(cached_results).where(cached_results.c.audio_sha256.in_(recordings)),
            delete(recognitions).where(found),
        )

    async def expire(self, *, keep_s: float, keep_text_s: float) -> None:
        """Remove entries, and texts, that are older than so many seconds."""
        now = time.time()
        await self._in_writer(delete(recognitions).where(recognitions.c.created_at < now - keep_s))
        await self._in_writer(
            update(recognitions)
            .where(recognitions.c.created_at < now - keep_text_s, recognitions.c.text.is_not(None))
            .values(text=None)
        )

    async def close(self) -> None:
        """Write what is pending."""
        if self._writing is not None:
            await self._writing
        self._writer.shutdown()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            batch, self._pending = self._pending, []
            rows = [dict(vars(entry)) for entry, _ in batch]
            try:
                await loop.run_in_executor(self._writer, self._insert, rows)
            except Exception as error:
                # Whatever it was: the answers that wait for their entries must go out.
                self._metrics.log_failures.inc(len(rows))
                logger.error("%d recognitions were not logged: %s", len(rows), reason(error))
            for _, written in batch:
                if not written.done():
                    written.set_result(None)

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        with self._engine.begin() as connection:
            connection.execute(_INSERT, rows)

    async def _in_writer(self, *statements: Delete | Update) -> int:
        """Run statements in one transaction; returns the number of rows of the last one."""

        def run() -> int:
            with self._engine.begin() as connection:
                return [connection.execute(statement).rowcount for statement in statements][-1]

        return await asyncio.get_running_loop().run_in_executor(self._writer, run)


def _all_of(filters: Mapping[str, str]) -> ColumnElement[bool]:
    return and_(True, *(recognitions.c[name] == value for name, value in filters.items()))
