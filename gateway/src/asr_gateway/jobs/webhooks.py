"""Webhooks: one call for each job that has a `webhook_url`, when it has ended.

Signed as the specification Standard Webhooks 1.0 says.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from sqlalchemy.exc import SQLAlchemyError

from asr_gateway import __version__
from asr_gateway.console import logger
from asr_gateway.jobs.outbound import BadUrl, Outbound, PrivateAddress, Unreachable
from asr_gateway.keys import secret_bytes
from asr_gateway.metrics import JobMetrics
from asr_gateway.store.database import reason
from asr_gateway.store.job_rows import Row
from asr_gateway.store.jobs import JobStore

TIMEOUT_S = 10.0
"""A receiver that has not answered by then has failed the attempt."""
HOLD_S = 20.0
"""A gateway that died during an attempt holds the webhook for so long."""
AT_ONCE = 32
"""Attempts of one gateway at the same time."""
POLL_S = 1.0
_GONE = 410


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """When a failed webhook is tried again."""

    max_attempts: int = 8
    first_s: float = 5.0
    factor: float = 4.0
    jitter: float = 0.2
    """Each wait is up to this share longer or shorter."""

    def pause_s(self, attempts: int) -> float | None:
        """Seconds until the next attempt after so many; None when that was the last one."""
        if attempts >= self.max_attempts:
            return None
        spread = random.uniform(1 - self.jitter, 1 + self.jitter)
        return self.first_s * self.factor ** (attempts - 1) * spread


BACKOFF = Backoff()


def message_id(job_id: str) -> str:
    """The same for all attempts, so that a receiver can drop a call that it had before."""
    return "msg_" + job_id.removeprefix("job_")


def payload(row: Row) -> bytes:
    """The body of a job's webhook; the same bytes for all attempts."""
    ended = datetime.fromtimestamp(row["ended_at"], timezone.utc)
    body = {
        "type": f"job.{row['status']}",
        "timestamp": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"id": row["id"], "status": row["status"]},
    }
    return json.dumps(body).encode()


def headers(id: str, body: bytes, *, secret: str, now: float) -> dict[str, str]:
    """The headers of a call, with its signature.

    Args:
        id: of the message.
        body: what is sent.
        secret: "whsec_" and base64.
        now: seconds since 1970.
    """
    timestamp = str(int(now))
    signed = b".".join((id.encode(), timestamp.encode(), body))
    digest = hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": f"asr-gateway/{__version__}",
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class Webhooks:
    """Delivers the webhooks of the store.

    Args:
        store: of the jobs.
        outbound: makes the calls.
        secret_of: the secret of a key by its name; None where it has none any more.
        metrics: of the jobs.
    """

    def __init__(
        self,
        store: JobStore,
        outbound: Outbound,
        secret_of: Callable[[str], str | None],
        metrics: JobMetrics,
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._secret_of = secret_of
        self._metrics = metrics
        self._due = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """A job with a webhook has ended."""
        self._due.set()

    async def run(self) -> None:
        """Deliver what is due, until cancelled."""
        try:
            while True:
                self._due.clear()
                await self._guarded(self._begin)
                try:
                    await asyncio.wait_for(self._due.wait(), POLL_S)
                except asyncio.TimeoutError:
                    continue
        finally:
            for attempt in self._attempts:
                attempt.cancel()
            await asyncio.gather(*self._attempts, return_exceptions=True)

    async def _begin(self) -> None:
        """Begin as many attempts as there is room for: a slow receiver holds up no other."""
        room = AT_ONCE - len(self._attempts)
        if not room:
            return
        for row in await self._store.claim_webhooks(room, hold_s=HOLD_S):
            attempt = asyncio.ensure_future(self._guarded(lambda row=row: self._attempt(row)))  # type: ignore[misc]
            self._attempts.add(attempt)
            attempt.add_done_callback(self._ended)

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        self._due.set()

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step; a failure is logged, and the webhook is due again after `HOLD_S`."""
        try:
            await step()
        except SQLAlchemyError as error:
            self._metrics.store_failures.inc()
            logger.error("webhooks wait for the store: %s", reason(error))
        except Exception:
            logger.exception("webhooks failed")

    async def _attempt(self, row: Row) -> None:
        outcome, final = await self._call(row)
        self._metrics.webhook_attempts.labels(outcome).inc()
        if outcome == "delivered":
            await self._store.note_webhook(row, "delivered")
            return
        pause_s = None if final else BACKOFF.pause_s(row["webhook_attempts"])
        if pause_s is not None:
            await self._store.note_webhook(row, "pending", again_in_s=pause_s)
        elif await self._store.note_webhook(row, "dead"):
            self._metrics.webhooks_dead.inc()
            logger.error("the webhook of %s is given up", row["id"])

    async def _call(self, row: Row) -> tuple[str, bool]:
        """The outcome, and whether another attempt cannot succeed."""
        secret = self._secret_of(row["key"])
        if secret is None:
            logger.warning("webhook of %s: its key has no webhook_secret any more", row["id"])
            return "failed", False
        body = payload(row)
        signed = headers(message_id(row["id"]), body, secret=secret, now=time.time())
        try:
            return await asyncio.wait_for(self._post(row, signed, body), TIMEOUT_S)
        except (PrivateAddress, BadUrl):
            logger.warning("webhook of %s: its address is not public", row["id"])
            return "refused", True
        except (Unreachable, asyncio.TimeoutError) as error:
            logger.warning("webhook of %s: %s", row["id"], str(error) or "no answer in time")
            return "failed", False

    async def _post(self, row: Row, signed: dict[str, str], body: bytes) -> tuple[str, bool]:
        url = row["webhook_url"]
        async with self._outbound.call("POST", url, headers=signed, content=body) as answer:
            if 200 <= answer.status_code < 300:
                return "delivered", False
            logger.warning("webhook of %s: answered %d", row["id"], answer.status_code)
            return "failed", answer.status_code == _GONE
