"""The rows of jobs: what makes them, what ends them, and the queries that several writes share."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from asr_gateway.store.schema import job_results, jobs

Row = Mapping[str, Any]

UNENDED = ("queued", "running")
ID = r"^job_[0-9a-f]{28}$"
"""What ids look like; PostgreSQL refuses some texts that a caller may send instead."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as it is accepted; the fields are columns."""

    id: str
    key: str
    """The name of the caller's key."""
    audio_bytes: int
    audio_sha256: str
    request: Mapping[str, Any]
    """What `asr_gateway.jobs.request` makes of the fields."""
    request_id: str
    body_sha256: str
    """Tells whether a second body with the same idempotency key is the same one."""
    idempotency_key: str | None
    webhook_url: str | None


@dataclass(frozen=True, kw_only=True)
class End:
    """How a job ended."""

    status: str
    """"succeeded" or "failed"."""
    audio_s: float | None = None
    transcript: Mapping[str, Any] | None = None
    error_code: str | None = None
    error_message: str | None = None


def new_id() -> str:
    """An id; ids sort by time."""
    return f"job_{time.time_ns() // 1000:014x}{secrets.token_hex(7)}"


def held(row: Row) -> ColumnElement[bool]:
    """Whether a job is still with the gateway that claimed it as this row."""
    return and_(jobs.c.id == row["id"], jobs.c.status == "running", jobs.c.fence == row["fence"])


def with_position() -> Any:
    """All columns, and the place in the queue, from 1, of jobs that wait."""
    ahead = jobs.alias("ahead")
    position = (
        select(func.count())
        .where(jobs.c.status == "queued", ahead.c.status == "queued", ahead.c.id <= jobs.c.id)
        .correlate(jobs)
        .scalar_subquery()
    )
    return select(jobs, position.label("position"))


def rows(connection: Connection, statement: Any) -> list[Row]:
    """What a statement returns."""
    return [dict(row) for row in connection.execute(statement).mappings()]


def remove(connection: Connection, query: Any) -> int:
    """Delete the jobs whose ids a query names, with their results; how many there were."""
    ids = list(connection.execute(query).scalars())
    if ids:
        connection.execute(delete(job_results).where(job_results.c.job_id.in_(ids)))
        connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return len(ids)
