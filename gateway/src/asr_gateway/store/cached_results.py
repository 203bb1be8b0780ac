"""Results by the hash of what they depend on, within a number of bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from asr_gateway.console import logger
from asr_gateway.metrics import CacheMetrics
from asr_gateway.store.schema import cached_results as table

_T = TypeVar("_T")
_FIND = select(table.c.value, table.c.used_at).where(table.c.key == bindparam("key"))

OVERHEAD_BYTES = 512
"""What a row takes beside its value, indexes included; an estimate."""
TOUCH_S = 60.0
"""A use is noted if the last one is older: a read then needs no write."""


class CachedResults:
    """The table of cached results.

    A failure of the store is logged and counted, and never fails a request.

    Args:
        engine: the store.
        max_bytes: of all rows together; beyond it the least recently used ones are removed.
        metrics: of the cache.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_bytes: int,
        metrics: CacheMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._clock = clock
        self._bytes: int | None = None
        """An upper bound, as far as this process alone writes; None: it must be counted."""

    async def get(self, key: str, decode: Callable[[bytes], _T]) -> _T | None:
        """The value, decoded in the same thread; None if there is none.

        Raises:
            Exception: whatever `decode` raises.
        """

        def read() -> _T | None:
            value = self._get(key)
            return None if value is None else decode(value)

        return await self._run(read)

    async def put(self, key: str, *, audio_sha256: str, value: bytes) -> None:
        """Keep a value, and make room for it; one that is too large by itself is not kept."""
        size = len(value) + OVERHEAD_BYTES
        if size <= self._max_bytes:
            await self._run(lambda: self._put(key, audio_sha256, value, size))

    async def forget(self, audio_sha256: str) -> None:
        """Remove all results of a recording."""
        await self._run(lambda: self._delete(table.c.audio_sha256 == audio_sha256))

    async def expire(self, *, keep_s: float) -> None:
        """Remove what is older than so many seconds, and count what is there at the next write."""
        limit = self._clock() - keep_s
        self._bytes = None
        await self._run(lambda: self._delete(table.c.created_at < limit))

    async def _run(self, work: Callable[[], _T]) -> _T | None:
        try:
            return await asyncio.to_thread(work)
        except SQLAlchemyError as error:
            self._metrics.failures.inc()
            logger.error("the cache: %s", error)
            return None

    def _get(self, key: str) -> bytes | None:
        with self._engine.connect() as connection:
            row = connection.execute(_FIND, {"key": key}).one_or_none()
        if row is None:
            return None
        if self._clock() - row.used_at >= TOUCH_S:
            with self._engine.begin() as connection:
                used = update(table).where(table.c.key == key)
                connection.execute(used.values(used_at=self._clock()))
        value: bytes = row.value
        return value

    def _put(self, key: str, audio_sha256: str, value: bytes, size: int) -> None:
        now = self._clock()
        row = {
            **{"key": key, "audio_sha256": audio_sha256, "value": value, "size": size},
            **{"created_at": now, "used_at": now},
        }
        try:
            with self._engine.execution_options(immediate=True).begin() as connection:
                connection.execute(delete(table).where(table.c.key == key))
                connection.execute(insert(table), row)
                self._make_room(connection, size)
        except IntegrityError:
            # Another gateway has just kept the same.
            return

    def _make_room(self, connection: Connection, added: int) -> None:
        if self._bytes is not None and self._bytes + added <= self._max_bytes:
            self._bytes += added
        else:
            total = connection.execute(
                select(func.coalesce(func.sum(table.c.size), 0))
            ).scalar_one()
            self._bytes = self._evict(connection, total)
        self._metrics.bytes.set(self._bytes)

    def _evict(self, connection: Connection, total: int) -> int:
        """Remove the least recently used rows until the rest fits; returns the rest's bytes."""
        evicted = []
        oldest = select(table.c.key, table.c.size).order_by(table.c.used_at, table.c.created_at)
        with connection.execute(oldest) as rows:
            while total > self._max_bytes:
                row = rows.fetchone()
                assert row is not None
                evicted.append(row.key)
                total -= row.size
        for key in evicted:
            connection.execute(delete(table).where(table.c.key == key))
        self._metrics.evicted.inc(len(evicted))
        return total

    def _delete(self, condition: ColumnElement[bool]) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(condition))
