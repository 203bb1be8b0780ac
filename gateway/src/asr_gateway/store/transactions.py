"""Durable transactions with the store, in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Float, cast, func, literal, text

from asr_gateway.store import database

_T = TypeVar("_T")
_SQLITE_FILES = ("", "-wal", "-shm")
THREADS = 4


class Transactions:
    """Runs functions in transactions of a store, without holding up the event loop.

    Args:
        url: `--store`.
    """

    def __init__(self, url: str) -> None:
        self._engine: Engine = database.engine(url, durable=True)
        # Each write takes SQLite's lock at once, so no transaction fails halfway.
        self._writing = self._engine.execution_options(immediate=True)
        self._file = database.sqlite_file(url) if url.startswith(database.SQLITE) else None
        self._threads = ThreadPoolExecutor(THREADS, "store")

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """What a function that only reads returns."""
        return await self._run(self._engine, work)

    async def write(self, work: Callable[[Connection], _T]) -> _T:
        """What a function returns, once what it wrote is on disk."""
        return await self._run(self._writing, work)

    def now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the database's clock; SQLite's is this machine's."""
        if self._file is not None:
            return literal(time.time(), Float)
        return cast(func.extract("epoch", func.clock_timestamp()), Float)

    async def size_bytes(self) -> int:
        """What the database takes on its disk."""
        if self._file is not None:
            files = [self._file.with_name(self._file.name + end) for end in _SQLITE_FILES]
            return sum(file.stat().st_size for file in files if file.exists())
        query = text("SELECT pg_database_size(current_database())")
        return await self.read(lambda connection: int(connection.execute(query).scalar_one()))

    def close(self) -> None:
        """End the threads and the connections."""
        self._threads.shutdown()
        self._engine.dispose()

    async def _run(self, engine: Engine, work: Callable[[Connection], _T]) -> _T:
        def transaction() -> _T:
            with engine.begin() as connection:
                return work(connection)

        running = asyncio.get_running_loop().run_in_executor(self._threads, transaction)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A thread cannot be stopped: what comes next must see what this transaction did.
            await asyncio.gather(running, return_exceptions=True)
            raise
