"""Jobs over HTTP, with both stores."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from asr_client.testing import FakeServer, Fault
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running, uploads
from tools.postgresql import PostgreSql

NAMES = ("alice", "bob", "operator", "short")


def keys_file(folder: Path) -> str:
    path = folder / "keys.json"
    more: dict[str, dict[str, Any]] = {
        "operator": {"admin": True},
        "short": {"audio_s_per_minute": 0.5},
    }
    entries = [
        {"name": n, "sha256": hashlib.sha256(n.encode()).hexdigest(), **more.get(n, {})}
        for n in NAMES
    ]
    path.write_text(json.dumps({"keys": entries}))
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(
    request: pytest.FixtureRequest, server: FakeServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway with keys on each store."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = {"keys": keys_file(folder), "blobs": f"{folder}/blobs"}
    if request.param == "postgresql":
        settings["store"] = request.getfixturevalue("postgresql_server").new_database()
    with running(server.url, **settings) as started:
        yield started


class Caller:
    """Calls /v1/jobs."""

    def __init__(self, gateway: RunningGateway, name: str = "alice") -> None:
        self.http = gateway.http
        self.headers = {"authorization": f"Bearer {name}"}

    def post(
        self, audio: bytes | None = b"OggS", idempotency_key: str | None = None, **fields: Any
    ) -> httpx2.Response:
        headers = dict(self.headers)
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        files: dict[str, Any] = {} if audio is None else {"file": audio}
        data = {"model": "whisper-1", **fields}
        if audio is None:
            files = {name: (None, value) for name, value in data.items()}
            data = {}
        return self.http.post("/v1/jobs", files=files, data=data, headers=headers)

    def create(self, audio: bytes = b"OggS", **fields: Any) -> str:
        answer = self.post(audio, **fields)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
        return str(answer.json()["id"])

    def ask(self, path: str = "", method: str = "GET", **query: Any) -> httpx2.Response:
        return self.http.request(method, f"/v1/jobs{path}", params=query, headers=self.headers)

    def job(self, id: str) -> dict[str, Any]:
        answer = self.ask(f"/{id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ended(self, id: str) -> dict[str, Any]:
        wait_until(lambda: self.job(id)["status"] not in ("queued", "running"))
        return self.job(id)


def blobs(gateway: RunningGateway) -> list[str]:
    return sorted(path.name for path in gateway.parts.jobs.blobs.path("x").parent.iterdir())


def sound(text: str, server: FakeServer) -> bytes:
    """A recording of its own, with these words."""
    audio = b"OggS" + uuid.uuid4().bytes
    server.answer(audio, text)
    return audio


def code(answer: httpx2.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


@pytest.fixture
def hung(server: FakeServer) -> Iterator[FakeServer]:
    """asr-server takes recordings and answers none, until the test ends."""
    server.hung = True
    yield server
    server.hung = False


def test_a_job_from_its_request_to_its_result(gateway: RunningGateway, server: FakeServer):
    alice = Caller(gateway)
    accepted = alice.post(sound("ten of clubs", server))
    assert accepted.status_code == 202
    body = accepted.json()
    assert body == {
        "id": body["id"],
        "status": "queued",
        "created_at": body["created_at"],
        "started_at": None,
        "ended_at": None,
        "audio_s": None,
        "progress_s": 0.0,
        "position": body["position"],
        "error": None,
        "webhook": None,
    }
    assert body["position"] >= 1
    ended = alice.ended(body["id"])
    assert (ended["status"], ended["audio_s"], ended["progress_s"]) == ("succeeded", 1.0, 1.0)
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert ended["position"] is None
    assert alice.ask(f"/{body['id']}/result").json()["text"] == "ten of clubs"
    wait_until(lambda: body["id"] not in blobs(gateway))


def test_every_format_of_a_result(gateway: RunningGateway, server: FakeServer):
    alice = Caller(gateway)
    id = alice.create(sound("ten clubs", server), response_format="srt")
    alice.ended(id)
    results = {
        format: alice.ask(f"/{id}/result", format=format)
        for format in ("json", "verbose_json", "text", "srt", "vtt")
    }
    assert results["json"].json()["text"] == "ten clubs"
    assert results["verbose_json"].json()["segments"][0]["text"] == "ten clubs"
    assert results["text"].text == "ten clubs\n"
    assert results["srt"].text.startswith("1\n00:00:00,000 --> ")
    assert results["vtt"].text.startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert alice.ask(f"/{id}/result").text == results["srt"].text
    assert code(alice.ask(f"/{id}/result", format="pdf")) == (400, "invalid_value", "format")


def test_the_options_reach_the_server(gateway: RunningGateway, server: FakeServer):
    alice = Caller(gateway)
    audio = sound("x", server)
    id = alice.create(
        audio,
        **{
            "keywords[]": ["Xenia"],
            "response_format": "verbose_json",
            "timestamp_granularities[]": ["word"],
        },
    )
    alice.ended(id)
    [call] = [request for request in uploads(server) if request.audio == audio]
    options = json.loads(call.options)
    assert options["hotwords"] == ["Xenia"]
    assert options["decoder"] == "beam"
    result = alice.ask(f"/{id}/result").json()
    assert (result["words"][0]["word"], "segments" in result) == ("x", False)


def test_a_keyword_that_is_odd_is_kept_as_it_is(gateway: RunningGateway, server: FakeServer):
    alice, audio = Caller(gateway), sound("x", server)
    odd = "a\0\N{GRINNING FACE}"
    assert alice.ended(alice.create(audio, **{"keywords[]": [odd]}))["status"] == "succeeded"
    [call] = [request for request in uploads(server) if request.audio == audio]
    assert json.loads(call.options)["hotwords"] == [odd]


def test_there_is_no_result_before_the_end(gateway: RunningGateway, hung: FakeServer):
    alice = Caller(gateway)
    id = alice.create()
    answer = alice.ask(f"/{id}/result")
    assert code(answer) == (409, "job_not_ended", None)
    hung.hung = False
    alice.ended(id)
    assert alice.ask(f"/{id}/result").status_code == 200


def test_no_more_jobs_than_allowed_are_at_the_server(gateway: RunningGateway, hung: FakeServer):
    alice = Caller(gateway)
    ids = [alice.create() for _ in range(4)]
    wait_until(lambda: [alice.job(id)["status"] for id in ids].count("running") == 2)
    assert [alice.job(id)["position"] for id in ids] == [None, None, 1, 2]
    assert gateway.metric("asr_gateway_jobs_running") == 2
    wait_until(lambda: gateway.metric("asr_gateway_jobs_queued") == 2)
    interactive = gateway.parts.recognizer._admission
    assert interactive._calls == 0
    hung.hung = False
    assert {alice.ended(id)["status"] for id in ids} == {"succeeded"}


def test_a_failed_job_says_why(gateway: RunningGateway):
    alice = Caller(gateway)
    id = alice.create(b"no audio at all")
    job = alice.ended(id)
    assert (job["status"], job["progress_s"]) == ("failed", 0.0)
    assert job["error"]["code"] == "unsupported_format"
    assert "format" in job["error"]["message"]
    assert code(alice.ask(f"/{id}/result")) == (409, "job_failed", None)
    wait_until(lambda: id not in blobs(gateway))
    assert gateway.metric("asr_gateway_jobs_ended_total", status="failed") >= 1


@pytest.mark.parametrize("fault", [Fault.DRAINING, Fault.QUEUE_FULL, Fault.ENGINE_RESTARTING])
def test_a_job_waits_for_a_server_that_is_away(
    gateway: RunningGateway, server: FakeServer, fault: Fault
):
    alice = Caller(gateway)
    before = gateway.metric("asr_gateway_jobs_returned_total")
    server.ready = fault is not Fault.DRAINING
    server.fail(fault, times=0 if fault is Fault.DRAINING else 20)
    id = alice.create()
    try:
        wait_until(lambda: gateway.metric("asr_gateway_jobs_returned_total") > before)
    finally:
        server.ready = True
        server._faults.clear()
    assert alice.ended(id)["status"] == "succeeded"


def test_a_server_with_a_defect_is_not_asked_for_ever(
    gateway: RunningGateway, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("asr_gateway.jobs.runner.FAULT_PAUSE_S", 0.0)
    alice = Caller(gateway)
    server.fail(Fault.INTERNAL_ERROR, times=100)
    try:
        job = alice.ended(alice.create())
    finally:
        server._faults.clear()
    assert (job["status"], job["error"]["code"]) == ("failed", "internal_error")


def test_a_cancelled_job_stops_at_the_server(gateway: RunningGateway, hung: FakeServer):
    alice = Caller(gateway)
    ids = [alice.create(b"OggS" + uuid.uuid4().bytes) for _ in range(3)]
    wait_until(lambda: [alice.job(id)["status"] for id in ids].count("running") == 2)
    calls = uploads(hung)[-2:]
    for id in ids:
        answer = alice.ask(f"/{id}/cancel", "POST")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert alice.ask(f"/{id}/cancel", "POST").status_code == 200
        assert code(alice.ask(f"/{id}/result")) == (409, "job_cancelled", None)
        assert id not in blobs(gateway)
    wait_until(lambda: all(call.ended_early.is_set() for call in calls))
    wait_until(lambda: gateway.metric("asr_gateway_jobs_running") == 0)


def test_a_job_that_has_ended_cannot_be_cancelled(gateway: RunningGateway):
    alice = Caller(gateway)
    id = alice.create()
    alice.ended(id)
    assert code(alice.ask(f"/{id}/cancel", "POST")) == (409, "job_ended", None)
    assert alice.job(id)["status"] == "succeeded"


def test_deletion_removes_everything(gateway: RunningGateway, server: FakeServer):
    alice = Caller(gateway)
    ended = alice.create(sound("forget me", server))
    alice.ended(ended)
    server.hung = True
    running_one = alice.create()
    wait_until(lambda: alice.job(running_one)["status"] == "running")
    queued = [alice.create() for _ in range(2)][-1]
    try:
        for id in (ended, running_one, queued):
            assert alice.ask(f"/{id}", "DELETE").status_code == 204
            assert code(alice.ask(f"/{id}")) == (404, "not_found", "id")
            assert code(alice.ask(f"/{id}/result")) == (404, "not_found", "id")
            assert alice.ask(f"/{id}", "DELETE").status_code == 404
            assert id not in blobs(gateway)
    finally:
        server.hung = False


def test_a_key_sees_its_own_jobs_and_an_admin_all(gateway: RunningGateway):
    ids = {name: Caller(gateway, name).create() for name in NAMES[:2]}
    operator = Caller(gateway, "operator")
    for name, other in (("alice", "bob"), ("bob", "alice")):
        caller = Caller(gateway, name)
        listed = {job["id"] for job in caller.ask(limit=100).json()["data"]}
        assert ids[name] in listed
        assert ids[other] not in listed
        for path, method in (("", "GET"), ("/result", "GET"), ("/cancel", "POST"), ("", "DELETE")):
            assert caller.ask(f"/{ids[other]}{path}", method).status_code == 404
    assert set(ids.values()) <= {job["id"] for job in operator.ask(limit=100).json()["data"]}
    assert operator.ended(ids["bob"])["status"] == "succeeded"
    assert Caller(gateway, "nobody").ask().status_code == 401


def test_lists_are_paged_and_filtered(gateway: RunningGateway):
    bob = Caller(gateway, "bob")
    for id in [bob.create() for _ in range(5)]:
        bob.ended(id)
    whole = bob.ask(limit=100).json()
    assert whole.keys() == {"data", "has_more"}
    paged: list[dict[str, Any]] = []
    more, after = True, {}
    while more:
        page = bob.ask(limit=2, **after).json()
        paged += page["data"]
        more, after = page["has_more"], {"after": paged[-1]["id"]}
    assert paged == whole["data"]
    assert bob.ask(status="queued").json()["data"] == []
    assert {job["status"] for job in bob.ask(status="succeeded").json()["data"]} == {"succeeded"}
    for name, value in (("limit", 0), ("limit", 101), ("status", "done")):
        assert code(bob.ask(**{name: value})) == (400, "invalid_value", name)


def test_an_idempotency_key_makes_one_job(gateway: RunningGateway, server: FakeServer):
    alice, key = Caller(gateway), uuid.uuid4().hex
    audio = sound("once", server)
    first = alice.post(audio, key, language="en")
    assert first.status_code == 202
    again = alice.post(audio, key, language="en")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    for other in (alice.post(b"OggS", key, language="en"), alice.post(audio, key)):
        assert code(other) == (409, "idempotency_key_reused", "Idempotency-Key")
    assert Caller(gateway, "bob").post(audio, key, language="en").status_code == 202
    alice.ended(first.json()["id"])
    again = alice.post(audio, key, language="en")
    assert (again.status_code, again.json()["status"]) == (200, "succeeded")
    assert [request.audio for request in uploads(server)].count(audio) <= 2
    assert alice.post(audio, "x" * 256).status_code == 400


@pytest.mark.parametrize(
    ("fields", "status", "name"),
    [
        ({"stream": "true"}, 400, "stream"),
        ({"response_format": "pdf"}, 400, "response_format"),
        ({"prompt": "x"}, 400, "prompt"),
        ({"anything": "x"}, 400, "anything"),
        ({"model": "gpt"}, 404, "model"),
        ({"url": "http://example.com/a.wav"}, 400, "url"),
        ({"webhook_url": "https://example.com"}, 400, "webhook_url"),
    ],
)
def test_a_wrong_field_is_named(
    gateway: RunningGateway, fields: dict[str, str], status: int, name: str
):
    before = len(Caller(gateway).ask(limit=100).json()["data"])
    answer = Caller(gateway).post(**fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, name)
    assert len(Caller(gateway).ask(limit=100).json()["data"]) == before


def test_a_job_needs_a_recording(gateway: RunningGateway):
    answer = Caller(gateway).post(None)
    assert code(answer) == (400, "missing_required_parameter", "file")


def test_a_job_counts_against_its_keys_budget(gateway: RunningGateway):
    short = Caller(gateway, "short")
    assert short.ended(short.create())["audio_s"] == 1.0
    answer = short.post()
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "audio")
    assert len(short.ask().json()["data"]) == 1


def test_a_job_is_in_the_recognition_log(gateway: RunningGateway):
    alice = Caller(gateway)
    audio = b"OggS" + uuid.uuid4().bytes
    alice.ended(alice.create(audio))
    found = gateway.http.get(
        "/v1/recognitions",
        params={"audio_sha256": hashlib.sha256(audio).hexdigest()},
        headers=alice.headers,
    )
    [entry] = found.json()["data"]
    assert (entry["key"], entry["outcome"]) == ("alice", "succeeded")


def test_a_nearly_full_store_takes_no_job(server: FakeServer):
    with running(server.url, min_free_bytes=2**62) as gateway:
        answer = Caller(gateway).post()
        assert code(answer) == (507, "store_full", None)
        assert blobs(gateway) == []


def test_a_store_that_fails_is_a_503_and_jobs_go_on_later(server: FakeServer, tmp_path: Path):
    path = tmp_path / "s.sqlite3"
    with running(server.url, store=f"sqlite:///{path}") as gateway:
        alice = Caller(gateway)
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE jobs RENAME TO away")
        connection.close()
        answer = alice.post()
        assert code(answer) == (503, "store_unavailable", None)
        assert "retry-after" in answer.headers
        missing = "/job_" + "0" * 28
        for path_, method in (("", "GET"), (missing, "GET"), (missing, "DELETE")):
            assert alice.ask(path_, method).status_code == 503
        wait_until(lambda: gateway.metric("asr_gateway_jobs_store_failures_total") > 0)
        with sqlite3.connect(path) as connection:
            connection.execute("ALTER TABLE away RENAME TO jobs")
        connection.close()
        assert alice.ended(alice.create())["status"] == "succeeded"


@pytest.mark.parametrize(
    "id", ["x", "%00", "job_%00", "job_" + "0" * 28, "%ff", "job_" + "0" * 9999]
)
def test_a_job_that_is_not_there(gateway: RunningGateway, id: str):
    for path, method in (("", "GET"), ("/result", "GET"), ("/cancel", "POST"), ("", "DELETE")):
        assert Caller(gateway).ask(f"/{id}{path}", method).status_code == 404


@pytest.mark.parametrize("after", ["x", "\0", "job_"])
def test_a_page_begins_after_an_id(gateway: RunningGateway, after: str):
    assert code(Caller(gateway).ask(after=after)) == (400, "invalid_value", "after")


@pytest.mark.parametrize("name", ["key", "audio_sha256", "outcome", "after"])
def test_a_text_with_a_nul_is_refused_by_the_recognition_log(gateway: RunningGateway, name: str):
    operator = Caller(gateway, "operator").headers
    answer = gateway.http.get("/v1/recognitions", params={name: "\0"}, headers=operator)
    assert code(answer) == (400, "invalid_value", name)
    assert gateway.http.get("/v1/recognitions/%00", headers=operator).status_code == 404


def test_ended_jobs_go_after_their_time(server: FakeServer):
    with running(server.url, keep_jobs_s=0.2) as gateway:
        alice = Caller(gateway)
        id = alice.create()
        wait_until(lambda: alice.ask(f"/{id}").status_code == 404)
        assert alice.ask().json() == {"data": [], "has_more": False}


def test_the_store_has_no_words_after_a_deletion(server: FakeServer, tmp_path: Path):
    with running(server.url, store=f"sqlite:///{tmp_path}/s.sqlite3") as gateway:
        alice = Caller(gateway)
        id = alice.create(sound("Xenia", server))
        alice.ended(id)
        assert alice.ask(f"/{id}", "DELETE").status_code == 204
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"Xenia" not in kept


def test_a_stop_gives_the_jobs_to_another_gateway_at_once(
    server: FakeServer, store_url: str, tmp_path: Path
):
    settings = {"store": store_url, "blobs": f"{tmp_path}/blobs"}
    with running(server.url, **settings) as leaving:
        server.hung = True
        id = Caller(leaving).create()
        wait_until(lambda: leaving.metric("asr_gateway_jobs_running") == 1)
        leaving.parts.jobs.drain()
        wait_until(lambda: leaving.metric("asr_gateway_jobs_returned_total") == 1)
        assert Caller(leaving).job(id)["status"] == "queued"
        with running(server.url, **settings) as other:
            wait_until(lambda: other.metric("asr_gateway_jobs_running") == 1)
            later = Caller(leaving).create()  # still answered, and taken by the other one
            server.hung = False
            for each in (id, later):
                assert Caller(other).ended(each)["status"] == "succeeded"
        assert leaving.metric("asr_gateway_jobs_ended_total", status="succeeded") == 0


def test_a_cancellation_at_another_gateway_stops_the_work(
    server: FakeServer, store_url: str, tmp_path: Path
):
    settings = {"store": store_url, "blobs": f"{tmp_path}/blobs"}
    with running(server.url, **settings) as worker:
        audio = sound("x", server)
        server.hung = True
        id = Caller(worker).create(audio)
        wait_until(lambda: audio in [request.audio for request in uploads(server)])
        [call] = [request for request in uploads(server) if request.audio == audio]
        with running(server.url, **settings) as other:
            assert Caller(other).ask(f"/{id}/cancel", "POST").json()["status"] == "cancelled"
            assert Caller(worker).job(id)["status"] == "cancelled"
            wait_until(call.ended_early.is_set)
            server.hung = False
        wait_until(lambda: worker.metric("asr_gateway_jobs_leases_lost_total") == 1)
        assert blobs(worker) == []


def test_metrics_of_the_store(gateway: RunningGateway):
    wait_until(lambda: gateway.metric("asr_gateway_jobs_store_bytes") > 0)
    assert gateway.metric("asr_gateway_jobs_store_free_bytes") > 0
    assert gateway.metric("asr_gateway_jobs_min_free_bytes") == 2**30


def test_a_gateway_that_takes_its_own_lapsed_job_runs_it_once(server: FakeServer):
    """The machine slept, or its clock jumped: the next look for jobs comes before a renewal."""
    with running(server.url) as gateway:
        audio = sound("x", server)
        server.hung = True
        id = Caller(gateway).create(audio)

        def calls() -> list[Any]:
            return [request for request in uploads(server) if request.audio == audio]

        wait_until(lambda: len(calls()) == 1)
        with sqlite3.connect(gateway.parts.settings.store_url.removeprefix("sqlite:///")) as store:
            store.execute("UPDATE jobs SET lease_until = 0")
        store.close()
        wait_until(lambda: len(calls()) == 2)
        wait_until(calls()[0].ended_early.is_set)
        server.hung = False
        assert Caller(gateway).ended(id)["status"] == "succeeded"
        assert gateway.metric("asr_gateway_jobs_ended_total", status="succeeded") == 1


def test_two_gateways_with_two_mounts_of_one_folder(
    server: FakeServer, postgresql_server: PostgreSql, tmp_path: Path
):
    """One takes the recordings, the other runs the jobs."""
    store, folder, mount = postgresql_server.new_database(), tmp_path / "blobs", tmp_path / "mount"
    folder.mkdir()
    mount.symlink_to(folder)
    with (
        running(server.url, store=store, blobs=str(folder)) as taking,
        running(server.url, store=store, blobs=str(mount)) as working,
    ):
        assert working.parts
        taking.parts.jobs.drain()
        alice = Caller(taking)
        recordings = [sound(f"words {number}", server) for number in range(4)]
        ids = [alice.create(recording) for recording in recordings]
        for number, id in enumerate(ids):
            alice.ended(id)
            assert alice.ask(f"/{id}/result").json()["text"] == f"words {number}"
        succeeded = {"status": "succeeded"}
        assert working.metric("asr_gateway_jobs_ended_total", **succeeded) == 4
        assert taking.metric("asr_gateway_jobs_ended_total", **succeeded) == 0
        wait_until(lambda: list(folder.iterdir()) == [])
