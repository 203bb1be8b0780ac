"""Jobs in the store: a queue that several gateways share by leases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from asr_gateway.store.job_rows import UNENDED, End, NewJob, Row, held, remove, rows, with_position
from asr_gateway.store.schema import job_results, jobs
from asr_gateway.store.transactions import Transactions

LEASE_S = 30.0
"""A job of a gateway that has not renewed its lease for so long goes to another one."""
BATCH = 500
"""How many jobs one statement names, since databases bound that."""


class JobStore:
    """Reads and writes jobs without holding up the event loop.

    A claim raises the job's `fence`. All later writes of the claimer name the fence that it got, so
    a gateway that lost its lease changes nothing any more. Times are the database's own, since the
    clocks of several machines differ.

    Args:
        transactions: with the store, whose schema is this version's.
        owner: names this gateway in its leases.
        lease_s: how long a lease lasts, in seconds.
    """

    def __init__(self, transactions: Transactions, *, owner: str, lease_s: float = LEASE_S) -> None:
        self._read = transactions.read
        self._write = transactions.write
        self._now = transactions.now
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
        query = with_position().where(condition).order_by(jobs.c.id.desc()).limit(limit + 1)
        found = await self._read(lambda connection: rows(connection, query))
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
        claimed = await self._write(lambda connection: rows(connection, statement))
        return sorted(claimed, key=lambda row: str(row["id"]))

    async def renew(self, claimed: Iterable[Row]) -> set[str]:
        """Renew the leases of claimed jobs; the ids of those that are still this gateway's."""

        def write(connection: Connection) -> set[str]:
            lease = {"lease_until": self._now() + self.lease_s}
            return {
                row["id"]
                for row in claimed
                if connection.execute(update(jobs).where(held(row)).values(lease)).rowcount
            }

        return await self._write(write)

    async def end(self, row: Row, end: End) -> bool:
        """Write how a claimed job ended; False if it is not this gateway's any more."""

        def write(connection: Connection) -> bool:
            values = {name: value for name, value in vars(end).items() if name != "transcript"}
            changed = connection.execute(
                update(jobs).where(held(row)).values(**values, **self._ended())
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
        return bool(await self._put_back(held(row), **values))

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
        return bool(await self._write(lambda connection: remove(connection, found)))

    async def expire(self, *, keep_s: float) -> int:
        """Remove jobs that ended so many seconds ago, up to `BATCH`, and say how many there were.

        A job whose webhook is still to be delivered stays.
        """
        old = and_(
            jobs.c.ended_at < self._now() - keep_s,
            or_(jobs.c.webhook_status.is_(None), jobs.c.webhook_status != "pending"),
        )
        found = select(jobs.c.id).where(old).limit(BATCH).with_for_update(skip_locked=True)
        return await self._write(lambda connection: remove(connection, found))

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
        return await self._write(lambda connection: rows(connection, statement))

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
        [row] = rows(connection, with_position().where(condition))
        return row
