"""The recognition log, over HTTP and in the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from asr_client.testing import FakeServer, Fault
from asr_gateway.metrics import Metrics
from asr_gateway.store import database
from asr_gateway.store.recognitions import Entry, RecognitionLog, new_id
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running, uploads

NAMES = ("alice", "bob", "operator")


@pytest.fixture(scope="module")
def keyed(server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with two keys and an admin's."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    entries = [
        {
            "name": name,
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
            "admin": name == "operator",
        }
        for name in NAMES
    ]
    path.write_text(json.dumps({"keys": entries}))
    path.chmod(0o600)
    with running(server.url, keys=str(path)) as started:
        yield started


def transcribe(gateway: RunningGateway, audio: bytes = b"OggS", caller: str = "any", **fields: Any):
    return gateway.http.post(
        "/v1/audio/transcriptions",
        files={"file": audio},
        data={"model": "whisper-1", **fields},
        headers={"x-request-id": "r-9", "authorization": f"Bearer {caller}"},
    )


def ask(
    gateway: RunningGateway, caller: str = "any", method: str = "GET", path: str = "", **query: Any
):
    return gateway.http.request(
        method,
        f"/v1/recognitions{path}",
        params=query,
        headers={"authorization": f"Bearer {caller}"},
    )


def entries(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def made(**fields: Any) -> Entry:
    """An entry of no recognition."""
    empty = dict.fromkeys(Entry.__dataclass_fields__)
    filled = {"id": new_id(), "created_at": 1.0, "key": "a", "audio_bytes": 1}
    texts = dict.fromkeys(("audio_sha256", "outcome", "request_id"), "x")
    return Entry(**{**empty, **filled, **texts, "options": {}, "timing_ms": {}, **fields})


def test_an_entry_says_everything_but_the_words(gateway: RunningGateway, server: FakeServer):
    audio = b"OggS" + b"entry"
    transcribe(gateway, audio, **{"keywords[]": ["Xenia"]})
    [entry] = entries(ask(gateway, audio_sha256=hashlib.sha256(audio).hexdigest()))
    assert entry.pop("created_at") == pytest.approx(time.time(), abs=60)
    assert entry.pop("id").startswith("rec_")
    timing = entry.pop("timing_ms")
    assert {"wait", "call", "server_decode", "server_total"} <= timing.keys()
    assert entry == {
        "object": "recognition",
        "key": "anonymous",
        "audio_s": 1.0,
        "audio_bytes": len(audio),
        "audio_sha256": hashlib.sha256(audio).hexdigest(),
        "model": "fake",
        "revision": "1",
        "fingerprint": "fake",
        "options": {"timestamps": "none", "decoder": "beam", "hotwords": 1},
        "outcome": "succeeded",
        "request_id": "r-9",
        "call_id": uploads(server)[-1].request_id,
        "text": None,
    }


def test_no_word_reaches_the_disk(server: FakeServer, tmp_path: Path):
    with running(server.url, store=f"sqlite:///{tmp_path}/s.sqlite3") as gateway:
        transcribe(gateway, **{"keywords[]": ["Xenia"]})
        assert entries(ask(gateway))
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"anonymous" in kept
    assert b"clubs" not in kept
    assert b"Xenia" not in kept


def test_with_log_text_the_words_are_there(server: FakeServer):
    with running(server.url, log_text=True) as gateway:
        transcribe(gateway)
        [entry] = entries(ask(gateway))
    assert entry["text"] == "seven of clubs"


def test_a_running_gateway_deletes_old_entries(server: FakeServer):
    with running(server.url, keep_log_s=0.2) as gateway:
        transcribe(gateway)
        wait_until(lambda: entries(ask(gateway)) == [])


def test_texts_and_entries_have_their_time(tmp_path: Path):
    ages_s = (10.0, 100.0, 1000.0)

    async def left() -> list[tuple[float, str | None]]:
        engine = database.open_store(f"sqlite:///{tmp_path}/s.sqlite3")
        log = RecognitionLog(engine, Metrics())
        now = time.time()
        await asyncio.gather(
            *(
                log.add(made(created_at=now - age_s, audio_s=age_s, text="words"))
                for age_s in ages_s
            )
        )
        await log.expire(keep_s=500.0, keep_text_s=50.0)
        found, _ = await log.find({}, after=None, limit=10)
        await log.close()
        engine.dispose()
        return sorted((row["audio_s"], row["text"]) for row in found)

    assert asyncio.run(left()) == [(10.0, "words"), (100.0, None)]


def test_failures_are_logged_with_their_code(gateway: RunningGateway, server: FakeServer):
    server.fail(Fault.CORRUPT_AUDIO)
    assert transcribe(gateway).status_code == 400
    [entry] = entries(ask(gateway, outcome="corrupt_audio"))
    assert (entry["audio_s"], entry["model"]) == (None, None)
    assert entry["call_id"] == uploads(server)[-1].request_id


def test_a_caller_who_went_away_is_logged(server: FakeServer):
    with FakeServer(delay_s=60) as slow, running(slow.url) as gateway:
        with pytest.raises(httpx2.TimeoutException):
            gateway.http.post(
                "/v1/audio/transcriptions",
                files={"file": b"OggS"},
                data={"model": "whisper-1"},
                timeout=0.3,
            )
        wait_until(lambda: [e["outcome"] for e in entries(ask(gateway))] == ["cancelled"])


def test_a_key_sees_its_own_and_an_admin_all(keyed: RunningGateway):
    for name in NAMES[:2]:
        transcribe(keyed, name.encode() + b"OggS", caller=name)  # refused as no audio: logged too
        transcribe(keyed, b"OggS" + name.encode(), caller=name)
    for name in NAMES[:2]:
        assert {entry["key"] for entry in entries(ask(keyed, name))} == {name}
        assert ask(keyed, name, key="operator").status_code == 403
    assert {entry["key"] for entry in entries(ask(keyed, "operator"))} >= {"alice", "bob"}
    assert {entry["key"] for entry in entries(ask(keyed, "operator", key="bob"))} == {"bob"}
    [mine] = entries(ask(keyed, "alice", limit=1))
    assert ask(keyed, "alice", path=f"/{mine['id']}").json() == mine
    assert ask(keyed, "bob", path=f"/{mine['id']}").status_code == 404
    assert ask(keyed, "bob", "DELETE", path=f"/{mine['id']}").status_code == 404
    assert ask(keyed, "alice", "DELETE", path=f"/{mine['id']}").status_code == 204
    assert ask(keyed, "alice", path=f"/{mine['id']}").status_code == 404


def test_deletion_by_recording_and_by_key(keyed: RunningGateway):
    audio = b"OggS" + b"to be forgotten"
    digest = hashlib.sha256(audio).hexdigest()
    for name in ("alice", "alice", "bob"):
        transcribe(keyed, audio, caller=name)
    assert ask(keyed, "alice", "DELETE").status_code == 400
    assert ask(keyed, "alice", "DELETE", key="bob").status_code == 403
    assert ask(keyed, "alice", "DELETE", audio_sha256=digest).json() == {"deleted": 2}
    assert ask(keyed, "operator", "DELETE", audio_sha256=digest).json() == {"deleted": 1}
    transcribe(keyed, caller="bob")
    assert ask(keyed, "operator", "DELETE", key="bob").json()["deleted"] >= 1
    assert entries(ask(keyed, "bob")) == []


def test_pages(gateway: RunningGateway):
    for _ in range(5):
        transcribe(gateway)
    whole = entries(ask(gateway, limit=1000))
    paged: list[dict[str, Any]] = []
    more, after = True, {}
    while more:
        answer = ask(gateway, limit=2, **after)
        paged += entries(answer)
        more, after = answer.json()["has_more"], {"after": paged[-1]["id"]}
    assert paged == whole
    assert [entry["id"] for entry in whole] == sorted(
        (entry["id"] for entry in whole), reverse=True
    )


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}])
def test_a_wrong_parameter_is_named(gateway: RunningGateway, query: dict[str, Any]):
    answer = ask(gateway, **query)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "limit"


def test_a_store_that_fails_does_not_fail_the_caller(server: FakeServer, tmp_path: Path):
    path = tmp_path / "s.sqlite3"
    with running(server.url, store=f"sqlite:///{path}") as gateway:
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE recognitions")
        connection.close()
        assert transcribe(gateway).json()["text"] == "seven of clubs"
        assert gateway.metric("asr_gateway_log_failures_total") == 1
        for method, path in (("GET", ""), ("GET", "/rec_1"), ("DELETE", "/rec_1")):
            answer = ask(gateway, method=method, path=path)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "store_unavailable"


def test_many_entries_at_once_share_transactions(tmp_path: Path):
    async def write() -> int:
        engine = database.open_store(f"sqlite:///{tmp_path}/s.sqlite3")
        log = RecognitionLog(engine, Metrics())
        transactions = []
        insert = log._insert
        log._insert = lambda rows: (transactions.append(1), insert(rows))  # type: ignore[assignment, func-returns-value]
        await asyncio.gather(*(log.add(made()) for _ in range(500)))
        found, more = await log.find({}, after=None, limit=1000)
        await log.close()
        engine.dispose()
        assert (len(found), more) == (500, False)
        return len(transactions)

    assert asyncio.run(write()) <= 2


def test_an_entry_that_no_store_takes_holds_up_nobody(tmp_path: Path):
    async def write() -> float | None:
        engine = database.open_store(f"sqlite:///{tmp_path}/s.sqlite3")
        metrics = Metrics()
        log = RecognitionLog(engine, metrics)
        # SQLite's driver raises no error of a database here.
        await asyncio.wait_for(log.add(made(text="\ud800")), 60)
        await asyncio.wait_for(log.add(made()), 60)
        await log.close()
        engine.dispose()
        return metrics.registry.get_sample_value("asr_gateway_log_failures_total")

    assert asyncio.run(write()) == 1


def test_an_answer_waits_for_its_entry(
    gateway: RunningGateway, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    log, audio = gateway.parts.log, b"OggS waits"
    insert = log._insert
    written: list[bool] = []

    def slowly(rows: list[dict[str, Any]]) -> None:
        time.sleep(0.2)
        insert(rows)
        written.append(True)

    monkeypatch.setattr(log, "_insert", slowly)
    for number, fault in enumerate((None, Fault.CORRUPT_AUDIO), 1):
        if fault is not None:
            server.fail(fault)
        transcribe(gateway, audio)
        assert len(written) == number
