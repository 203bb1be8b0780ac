"""Removes what jobs leave behind, and measures the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from asr_gateway.console import logger
from asr_gateway.metrics import JobMetrics
from asr_gateway.store.blobs import Blobs
from asr_gateway.store.database import reason
from asr_gateway.store.jobs import BATCH, JobStore
from asr_gateway.store.transactions import Transactions

PERIOD_S = 60.0
ORPHAN_AGE_S = 600.0
"""A recording of no job is so old before it is deleted: it comes to disk before its job does."""


async def keep_tidy(
    store: JobStore,
    transactions: Transactions,
    blobs: Blobs,
    metrics: JobMetrics,
    *,
    keep_s: float,
    free_bytes: Callable[[], int],
) -> None:
    """Look every minute, until cancelled; `free_bytes` says how much room is left for jobs."""
    while True:
        try:
            while await store.expire(keep_s=keep_s) == BATCH:
                pass
            await sweep(store, blobs)
            taken = await asyncio.to_thread(blobs.size_bytes)
            metrics.store_bytes.set(taken + await transactions.size_bytes())
            metrics.store_free_bytes.set(await asyncio.to_thread(free_bytes))
        except (SQLAlchemyError, OSError) as error:
            metrics.store_failures.inc()
            logger.error("jobs keep more than they should: %s", reason(error))
        await asyncio.sleep(min(PERIOD_S, keep_s))


async def sweep(store: JobStore, blobs: Blobs) -> int:
    """Delete recordings that a killed gateway left: of ended jobs, and old ones of no job."""
    files = await asyncio.to_thread(lambda: list(blobs.found()))
    removed = 0
    for begin in range(0, len(files), BATCH):
        part = files[begin : begin + BATCH]
        ended = await store.ended({id for id, _, _ in part})
        for id, name, age_s in part:
            if ended.get(id, age_s > ORPHAN_AGE_S):
                await asyncio.to_thread(blobs.remove_file, name)
                removed += 1
    return removed
