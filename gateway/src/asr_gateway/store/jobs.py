"""Jobs in the store: a queue that several gateways share by leases."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Float,
    and_,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from asr_gateway.store import database
from asr_gateway.store.schema import job_results, jobs

Row = Mapping[str, Any]
_T = TypeVar("_T")

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")
UNENDED = ("queued", "running")
LEASE_S = 30.0
"""A job of a gateway that has not renewed its lease for so long goes to another one."""
THREADS = 4
BATCH = 500
"""How many jobs one statement names, since databases bound that."""


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
    return f"job_{int(time.time() * 1000):012x}{secrets.token_hex(8)}"


class JobStore:
    """Reads and writes jobs without holding up the event loop.

    A claim raises the job's `fence`. All later writes of the claimer name the fence that it got, so
    a gateway that lost its lease changes nothing any more. Times are the database's own, since the
    clocks of several machines differ.

    Args:
        url: `--store`; its schema is this version's.
        owner: names this gateway in its leases.
        lease_s: how long a lease lasts, in seconds.
    """

    def __init__(self, url: str, *, owner: str, lease_s: float = LEASE_S) -> None:
        self._engine: Engine = database.engine(url, durable=True)
        # Each write takes SQLite's lock at once, so no transaction fails halfway.
        self._writing = self._engine.execution_options(immediate=True)
        self._file = database.sqlite_file(url) if url.startswith(database.SQLITE) else None
        self._threads = ThreadPoolExecutor(THREADS, "jobs")
        self.owner = owner
        self.lease_s = lease_s

    async def add(self, job: NewJob) -> Row | None:
        """Put a job into the queue; None if the caller's idempotency key is there already."""

        def write(connection: Connection) -> Row:
            connection.execute(
                insert(jobs).values(
                    **vars(job),
                    status="queued",
                    created_at=self._now(),
                    faults=0,
                    not_before=0.0,
                    fence=0,
                    webhook_status="waiting" if job.webhook_url else None,
                    webhook_attempts=0,
                )
            )
            return self._one(connection, jobs.c.id == job.id)

        try:
            return await self._write(write)
        except IntegrityError:
            return None

    async def find(self, filters: Mapping[str, str]) -> Row | None:
        """The job that equals all filters, with its `position` in the queue."""
        found, _ = await self.page(filters, after=None, limit=1)
        return found[0] if found else None

    async def page(
        self, filters: Mapping[str, str], *, after: str | None, limit: int
    ) -> tuple[list[Row], bool]:
        """Jobs that equal all filters, newest first, and whether there are more."""
        condition = and_(True, *(jobs.c[name] == value for name, value in filters.items()))
        if after is not None:
            condition = and_(condition, jobs.c.id < after)
        query = _with_position().where(condition).order_by(jobs.c.id.desc()).limit(limit + 1)
        found = await self._read(lambda connection: _rows(connection, query))
        return found[:limit], len(found) > limit

    async def transcript(self, id: str) -> Mapping[str, Any] | None:
        """What a succeeded job found."""
        query = select(job_results.c.transcript).where(job_results.c.job_id == id)
        return await self._read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def claim(self, limit: int) -> list[Row]:
        """Take up to `limit` jobs that wait, or whose gateway is gone; oldest first."""
        now = self._now()
        free = or_(
            and_(jobs.c.status == "queued", jobs.c.not_before <= now),
            and_(jobs.c.status == "running", jobs.c.lease_until < now),
        )
        # On SQLite the transaction itself locks; SQLAlchemy leaves FOR UPDATE out there.
        picked = (
            select(jobs.c.id)
            .where(free)
            .order_by(jobs.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("picked")
        )
        statement = (
            update(jobs)
            .where(jobs.c.id.in_(select(picked.c.id)))
            .values(
                status="running",
                started_at=func.coalesce(jobs.c.started_at, now),
                fence=jobs.c.fence + 1,
                lease_owner=self.owner,
                lease_until=now + self.lease_s,
            )
            .returning(jobs)
        )
        claimed = await self._write(lambda connection: _rows(connection, statement))
        return sorted(claimed, key=lambda row: str(row["id"]))

    async def renew(self, held: Iterable[Row]) -> set[str]:
        """Renew the leases of claimed jobs; the ids of those that are still this gateway's."""

        def write(connection: Connection) -> set[str]:
            lease = {"lease_until": self._now() + self.lease_s}
            return {
                row["id"]
                for row in held
                if connection.execute(update(jobs).where(_held(row)).values(lease)).rowcount
            }

        return await self._write(write)

    async def end(self, row: Row, end: End) -> bool:
        """Write how a claimed job ended; False if it is not this gateway's any more."""

        def write(connection: Connection) -> bool:
            values = {name: value for name, value in vars(end).items() if name != "transcript"}
            changed = connection.execute(
                update(jobs).where(_held(row)).values(**values, **self._ended())
            )
            if changed.rowcount and end.transcript is not None:
                connection.execute(
                    insert(job_results).values(job_id=row["id"], transcript=end.transcript)
                )
            return bool(changed.rowcount)

        return await self._write(write)

    async def put_back(self, row: Row, *, faults: int = 0, pause_s: float = 0.0) -> bool:
        """Return a claimed job to its place in the queue.

        Args:
            row: as it was claimed.
            faults: how many more calls failed by a defect.
            pause_s: nobody claims it for so long, in seconds.
        """
        values = {"faults": row["faults"] + faults, "not_before": self._now() + pause_s}
        return bool(await self._put_back(_held(row), **values))

    async def give_back(self) -> int:
        """Return all jobs of this gateway to the queue, and say how many there were."""
        return await self._put_back(
            and_(jobs.c.status == "running", jobs.c.lease_owner == self.owner)
        )

    async def cancel(self, filters: Mapping[str, str]) -> bool:
        """End a queued or running job; False if it has ended already or is not there."""
        condition = and_(*(jobs.c[name] == value for name, value in filters.items()))
        statement = (
            update(jobs)
            .where(condition, jobs.c.status.in_(UNENDED))
            .values(status="cancelled", fence=jobs.c.fence + 1, **self._ended())
        )
        return bool(await self._write(lambda connection: connection.execute(statement).rowcount))

    async def delete(self, filters: Mapping[str, str]) -> bool:
        """Remove a job and its result, whatever its status; False if it is not there."""
        condition = and_(*(jobs.c[name] == value for name, value in filters.items()))
        found = select(jobs.c.id).where(condition).with_for_update()
        return bool(await self._write(lambda connection: _remove(connection, found)))

    async def expire(self, *, keep_s: float) -> int:
        """Remove jobs that ended so many seconds ago, up to `BATCH`, and say how many there were.

        A job whose webhook is still to be delivered stays.
        """
        old = and_(
            jobs.c.ended_at < self._now() - keep_s,
            or_(jobs.c.webhook_status.is_(None), jobs.c.webhook_status != "pending"),
        )
        found = select(jobs.c.id).where(old).limit(BATCH).with_for_update(skip_locked=True)
        return await self._write(lambda connection: _remove(connection, found))

    async def queued(self) -> int:
        """How many jobs wait."""
        query = select(func.count()).where(jobs.c.status == "queued")
        return await self._read(lambda connection: connection.execute(query).scalar_one())

    async def ended(self, ids: Iterable[str]) -> dict[str, bool]:
        """Whether each job has ended; without those that are not there."""
        query = select(jobs.c.id, jobs.c.status).where(jobs.c.id.in_(list(ids)))

        def read(connection: Connection) -> dict[str, bool]:
            found = connection.execute(query)
            return {id: status not in UNENDED for id, status in found}

        return await self._read(read)

    async def size_bytes(self) -> int:
        """What the database takes on its disk."""
        if self._file is not None:
            files = [self._file, *(self._file.with_name(self._file.name + end) for end in _WAL)]
            return sum(file.stat().st_size for file in files if file.exists())
        query = text("SELECT pg_database_size(current_database())")
        return await self._read(lambda connection: int(connection.execute(query).scalar_one()))

    async def claim_webhooks(self, limit: int, *, hold_s: float) -> list[Row]:
        """Take up to `limit` webhooks that are due; another gateway may take them after `hold_s`.

        A claim counts as an attempt, and `webhook_attempts` is its fence.
        """
        now = self._now()
        picked = (
            select(jobs.c.id)
            .where(jobs.c.webhook_status == "pending", jobs.c.webhook_at <= now)
            .order_by(jobs.c.webhook_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("picked")
        )
        statement = (
            update(jobs)
            .where(jobs.c.id.in_(select(picked.c.id)))
            .values(webhook_at=now + hold_s, webhook_attempts=jobs.c.webhook_attempts + 1)
            .returning(jobs)
        )
        return await self._write(lambda connection: _rows(connection, statement))

    async def note_webhook(self, row: Row, status: str, *, again_in_s: float = 0.0) -> bool:
        """Write how an attempt of a webhook ended.

        Args:
            row: as it was claimed.
            status: "delivered", "dead", or "pending" for another attempt.
            again_in_s: when, in seconds from now.
        """
        statement = (
            update(jobs)
            .where(
                jobs.c.id == row["id"],
                jobs.c.webhook_status == "pending",
                jobs.c.webhook_attempts == row["webhook_attempts"],
            )
            .values(webhook_status=status, webhook_at=self._now() + again_in_s)
        )
        return bool(await self._write(lambda connection: connection.execute(statement).rowcount))

    def close(self) -> None:
        """End the threads and the connections."""
        self._threads.shutdown()
        self._engine.dispose()

    def _now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the database's clock; SQLite's is this machine's."""
        if self._file is not None:
            return literal(time.time(), Float)
        return cast(func.extract("epoch", func.clock_timestamp()), Float)

    def _ended(self) -> dict[str, Any]:
        """What every end sets; a webhook is due from then on."""
        return {
            "ended_at": self._now(),
            "lease_owner": None,
            "lease_until": None,
            "webhook_status": func.replace(jobs.c.webhook_status, "waiting", "pending"),
            "webhook_at": self._now(),
        }

    async def _put_back(self, condition: ColumnElement[bool], **values: Any) -> int:
        statement = (
            update(jobs)
            .where(condition)
            .values(
                status="queued",
                started_at=None,
                lease_owner=None,
                lease_until=None,
                fence=jobs.c.fence + 1,
                **values,
            )
        )
        return await self._write(lambda connection: connection.execute(statement).rowcount)

    def _one(self, connection: Connection, condition: ColumnElement[bool]) -> Row:
        [row] = _rows(connection, _with_position().where(condition))
        return row

    async def _read(self, work: Callable[[Connection], _T]) -> _T:
        return await self._run(self._engine, work)

    async def _write(self, work: Callable[[Connection], _T]) -> _T:
        return await self._run(self._writing, work)

    async def _run(self, engine: Engine, work: Callable[[Connection], _T]) -> _T:
        def transaction() -> _T:
            with engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)


_WAL = ("-wal", "-shm")


def _held(row: Row) -> ColumnElement[bool]:
    """Whether a job is still with the gateway that claimed it as this row."""
    return and_(jobs.c.id == row["id"], jobs.c.status == "running", jobs.c.fence == row["fence"])


def _with_position() -> Any:
    """All columns, and the place in the queue, from 1, of jobs that wait."""
    ahead = jobs.alias("ahead")
    position = (
        select(func.count())
        .where(jobs.c.status == "queued", ahead.c.status == "queued", ahead.c.id <= jobs.c.id)
        .correlate(jobs)
        .scalar_subquery()
    )
    return select(jobs, position.label("position"))


def _rows(connection: Connection, statement: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def _remove(connection: Connection, query: Any) -> int:
    ids = list(connection.execute(query).scalars())
    if ids:
        connection.execute(delete(job_results).where(job_results.c.job_id.in_(ids)))
        connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return len(ids)
