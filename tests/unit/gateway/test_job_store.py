"""The queue of jobs in both stores: claims, leases, fences, retention."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from asr_gateway.store import database
from asr_gateway.store.job_rows import End, NewJob, Row, new_id
from asr_gateway.store.jobs import JobStore
from asr_gateway.store.transactions import Transactions

T = TypeVar("T")

Open = Callable[..., JobStore]


@pytest.fixture
def replica(store_url: str) -> Iterator[Open]:
    """Makes gateways' views of one store."""
    database.open_store(store_url).dispose()
    with ExitStack() as stack:

        def open_one(owner: str = "a", lease_s: float = 30.0) -> JobStore:
            transactions = Transactions(store_url)
            stack.callback(transactions.close)
            return JobStore(transactions, owner=owner, lease_s=lease_s)

        yield open_one


def run(work: Awaitable[T]) -> T:
    async def whole() -> T:
        return await work

    return asyncio.run(whole())


def new_job(**fields: Any) -> NewJob:
    plain = {
        "id": new_id(),
        "key": "alice",
        "audio_bytes": 1,
        "audio_sha256": "a",
        "request": {},
        "request_id": "r",
        "body_sha256": "b",
        "idempotency_key": None,
        "webhook_url": None,
    }
    return NewJob(**{**plain, **fields})


async def add(store: JobStore, count: int = 1, **fields: Any) -> list[str]:
    ids = []
    for _ in range(count):
        row = await store.add(new_job(**fields))
        assert row is not None
        ids.append(row["id"])
    return ids


async def get(store: JobStore, id: str) -> Row:
    row = await store.find({"id": id})
    assert row is not None
    return row


SUCCEEDED = End(status="succeeded", audio_s=2.0, transcript={"text": "ten"})


def test_a_job_from_the_queue_to_its_end(replica: Open):
    store = replica()

    async def story() -> None:
        [id] = await add(store)
        queued = await get(store, id)
        assert (queued["status"], queued["position"], queued["started_at"]) == ("queued", 1, None)
        [claimed] = await store.claim(5)
        assert (claimed["id"], claimed["status"], claimed["fence"]) == (id, "running", 1)
        assert await store.claim(5) == []
        assert await store.end(claimed, SUCCEEDED)
        ended = await get(store, id)
        assert (ended["status"], ended["audio_s"]) == ("succeeded", 2.0)
        assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
        assert await store.transcript(id) == {"text": "ten"}
        assert not await store.end(claimed, SUCCEEDED)
        assert not await store.cancel({"id": id})

    run(story())


def test_positions_count_the_queue_and_the_oldest_goes_first(replica: Open):
    store = replica()

    async def story() -> None:
        ids = await add(store, 4)
        assert [(await get(store, id))["position"] for id in ids] == [1, 2, 3, 4]
        assert [row["id"] for row in await store.claim(2)] == ids[:2]
        assert [(await get(store, id))["position"] for id in ids] == [0, 0, 1, 2]
        assert await store.queued() == 2

    run(story())


def test_many_replicas_never_claim_the_same_job(replica: Open):
    stores = [replica(owner) for owner in "abcd"]

    async def story() -> None:
        ids = await add(stores[0], 40)
        taken: list[str] = []

        async def take(store: JobStore) -> None:
            while rows := await store.claim(3):
                taken.extend(row["id"] for row in rows)

        await asyncio.gather(*map(take, stores))
        assert Counter(taken) == Counter(ids)

    run(story())


def test_a_lapsed_lease_is_taken_and_the_old_holder_changes_nothing(replica: Open):
    slow, quick = replica("slow", lease_s=-1.0), replica("quick")

    async def story() -> None:
        [id] = await add(slow)
        [lost] = await slow.claim(1)
        [taken] = await quick.claim(1)
        assert taken["fence"] == lost["fence"] + 1
        assert await slow.renew([lost]) == set()
        assert not await slow.end(lost, SUCCEEDED)
        assert not await slow.put_back(lost)
        assert (await get(quick, id))["lease_owner"] == "quick"
        assert await quick.renew([taken]) == {id}
        assert await quick.end(taken, End(status="failed", error_code="x", error_message="y"))
        assert not await slow.end(lost, SUCCEEDED)
        ended = await get(quick, id)
        assert (ended["status"], ended["error_code"]) == ("failed", "x")
        assert await quick.transcript(id) is None

    run(story())


def test_a_renewed_lease_is_not_taken(replica: Open):
    holder, other = replica("holder", lease_s=-1.0), replica("other")

    async def story() -> None:
        await add(holder)
        [held] = await holder.claim(1)
        holder.lease_s = 30.0
        assert await holder.renew([held]) == {held["id"]}
        assert await other.claim(1) == []

    run(story())


def test_a_stop_gives_all_leases_back_at_once(replica: Open):
    leaving, other = replica("leaving"), replica("other")

    async def story() -> None:
        ids = await add(leaving, 3)
        held = await leaving.claim(2)
        [own] = await other.claim(1)
        assert await leaving.give_back() == 2
        assert not await leaving.end(held[0], SUCCEEDED)
        back = await get(other, ids[0])
        assert (back["status"], back["started_at"], back["position"]) == ("queued", None, 1)
        assert [row["id"] for row in await other.claim(5)] == ids[:2]
        assert (await get(other, own["id"]))["status"] == "running"

    run(story())


def test_what_is_put_back_keeps_its_place_and_may_have_to_wait(replica: Open):
    store = replica()

    async def story() -> None:
        first, second = await add(store, 2)
        [row] = await store.claim(1)
        assert await store.put_back(row)
        [row] = await store.claim(1)
        assert row["id"] == first
        assert await store.put_back(row, faults=1, pause_s=60.0)
        assert [row["id"] for row in await store.claim(2)] == [second]
        assert (await get(store, first))["faults"] == 1

    run(story())


def test_a_cancelled_job_cannot_succeed(replica: Open):
    store = replica()

    async def story() -> None:
        running, queued = await add(store, 2)
        [row] = await store.claim(1)
        for id in (running, queued):
            assert await store.cancel({"id": id})
            assert not await store.cancel({"id": id})
        assert not await store.end(row, SUCCEEDED)
        assert await store.renew([row]) == set()
        ended = await get(store, running)
        assert (ended["status"], await store.transcript(running)) == ("cancelled", None)

    run(story())


def test_an_idempotency_key_makes_one_job_for_each_caller(replica: Open):
    store = replica()

    async def story() -> None:
        results = await asyncio.gather(
            *(store.add(new_job(idempotency_key="k")) for _ in range(8)),
            store.add(new_job(idempotency_key="k", key="bob")),
            *(store.add(new_job()) for _ in range(2)),
        )
        made = [row for row in results if row is not None]
        assert Counter(row["key"] for row in made) == {"alice": 3, "bob": 1}

    run(story())


def test_deletion_and_retention(replica: Open):
    store = replica()

    async def story() -> None:
        ended, queued, waiting = [*await add(store, 2), *await add(store, webhook_url="http://a")]
        for row in await store.claim(3):
            if row["id"] == queued:
                await store.put_back(row)
            else:
                await store.end(row, SUCCEEDED)
        assert await store.expire(keep_s=60.0) == 0
        assert await store.expire(keep_s=-1.0) == 1
        assert await store.find({"id": ended}) is None
        assert await store.transcript(ended) is None
        assert (await get(store, waiting))["webhook_status"] == "pending"
        assert await store.delete({"id": waiting})
        assert await store.delete({"id": queued, "key": "bob"}) is False
        assert await store.ended([ended, queued, waiting]) == {queued: False}

    run(story())


def test_a_webhook_is_due_at_the_end_and_fenced_by_its_attempts(replica: Open):
    store, other = replica("a"), replica("b")

    async def story() -> None:
        [id] = await add(store, webhook_url="http://a")
        assert (await get(store, id))["webhook_status"] == "waiting"
        assert await store.claim_webhooks(5, hold_s=60.0) == []
        [job] = await store.claim(1)
        await store.end(job, SUCCEEDED)
        [lost] = await store.claim_webhooks(5, hold_s=-1.0)
        [held] = await other.claim_webhooks(5, hold_s=60.0)
        assert (lost["webhook_attempts"], held["webhook_attempts"]) == (1, 2)
        assert await store.claim_webhooks(5, hold_s=60.0) == []
        assert not await store.note_webhook(lost, "dead")
        assert await other.note_webhook(held, "pending", again_in_s=-1.0)
        [again] = await other.claim_webhooks(5, hold_s=60.0)
        assert await other.note_webhook(again, "delivered")
        row = await get(store, id)
        assert (row["webhook_status"], row["webhook_attempts"]) == ("delivered", 3)

    run(story())


def test_pages_are_newest_first(replica: Open):
    store = replica()

    async def story() -> None:
        ids = sorted(await add(store, 5), reverse=True)
        await add(store, key="bob")
        page, more = await store.page({"key": "alice"}, after=None, limit=3)
        assert ([row["id"] for row in page], more) == (ids[:3], True)
        page, more = await store.page({"key": "alice"}, after=ids[2], limit=3)
        assert ([row["id"] for row in page], more) == (ids[3:], False)

    run(story())


def test_a_cancelled_transaction_has_ended(store_url: str):
    """Whoever gives jobs back must not overtake the claim of one."""
    database.open_store(store_url).dispose()
    transactions = Transactions(store_url)
    began, may_end = threading.Event(), threading.Event()

    async def story() -> None:
        def work(_: Any) -> None:
            began.set()
            may_end.wait(60)

        task = asyncio.ensure_future(transactions.write(work))
        await asyncio.to_thread(began.wait)
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story())
    transactions.close()


def test_the_size_is_known(store_url: str):
    database.open_store(store_url).dispose()
    transactions = Transactions(store_url)
    assert run(transactions.size_bytes()) > 4096
    transactions.close()
