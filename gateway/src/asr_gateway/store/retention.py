"""Removes what the recognition log and the cache have kept long enough."""

from __future__ import annotations

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from asr_gateway.console import logger
from asr_gateway.store.cached_results import CachedResults
from asr_gateway.store.recognitions import RecognitionLog

PERIOD_S = 60.0


async def keep_expiring(
    log: RecognitionLog, cached: CachedResults, *, keep_s: float, keep_text_s: float
) -> None:
    """Look every minute, until cancelled."""
    while True:
        try:
            await log.expire(keep_s=keep_s, keep_text_s=keep_text_s)
        except SQLAlchemyError as error:
            logger.error("the recognition log keeps more than it should: %s", error)
        await cached.expire(keep_s=keep_text_s)
        await asyncio.sleep(min(PERIOD_S, keep_s, keep_text_s))
