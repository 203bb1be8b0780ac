"""Webhooks: signed, repeated, bounded; checked with the specification's own package."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from asr_client.testing import FakeServer
from asr_gateway.console import StartError
from asr_gateway.jobs import service, webhooks
from asr_gateway.jobs.webhooks import Backoff
from asr_gateway.keys import Keys
from tests.support.client.waiting import wait_until
from tests.support.gateway.receiver import Receiver, receiving
from tests.support.gateway.running import RunningGateway, running
from tests.unit.gateway.test_jobs import Caller, code

SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def write_keys(path: Path, secret: str | None = SECRET) -> str:
    entries: list[dict[str, Any]] = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest()}
        for name in ("alice", "unsigned")
    ]
    if secret is not None:
        entries[0]["webhook_secret"] = secret
    path.write_text(json.dumps({"keys": entries}))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    write_keys(path)
    return path


@pytest.fixture(scope="module")
def gateway(server: FakeServer, keys: Path) -> Iterator[RunningGateway]:
    with running(server.url, keys=str(keys), allow_private_urls=True, allow_urls=True) as started:
        yield started


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BACKOFF", Backoff(max_attempts=3, first_s=0.0))


def settled(caller: Caller, id: str) -> dict[str, Any]:
    wait_until(lambda: caller.job(id)["webhook"]["status"] not in ("waiting", "pending"))
    return dict(caller.job(id)["webhook"])


def test_success_failure_and_cancellation_are_told_and_signed(
    gateway: RunningGateway, server: FakeServer, receiver: Receiver
):
    alice = Caller(gateway)
    expected = {}
    for audio, status in ((b"OggS", "succeeded"), (b"no audio", "failed")):
        id = alice.create(audio, webhook_url=receiver.url("/hook?a=b"))
        assert settled(alice, id) == {"status": "delivered", "attempts": 1}
        expected[id] = status
    server.hung = True
    id = alice.create(webhook_url=receiver.url("/hook?a=b"))
    assert alice.job(id)["webhook"] == {"status": "waiting", "attempts": 0}
    alice.ask(f"/{id}/cancel", "POST")
    server.hung = False
    settled(alice, id)
    expected[id] = "cancelled"
    assert len(receiver.requests) == 3
    for request, (id, status) in zip(receiver.requests, expected.items(), strict=True):
        body = Webhook(SECRET).verify(request.body, dict(request.headers))
        assert body["data"] == {"id": id, "status": status}
        assert body["type"] == f"job.{status}"
        assert set(body) == {"type", "timestamp", "data"}
        assert request.path == "/hook?a=b"
        assert request.headers["content-type"] == "application/json"


@given(body=st.binary(), secret=st.binary(min_size=24, max_size=64))
def test_the_signature_is_the_specifications(body: bytes, secret: bytes):
    text = body.hex().encode()
    given_secret = "whsec_" + base64.b64encode(secret).decode()
    made = webhooks.headers("msg_1", text, secret=given_secret, now=webhooks.time.time())
    Webhook(given_secret).verify(text, made, json_parse=False)


@pytest.mark.usefixtures("quick")
def test_a_failed_call_is_repeated_with_the_same_id(gateway: RunningGateway, receiver: Receiver):
    receiver.answers = [500, 302]
    receiver.headers = {"location": receiver.url("/elsewhere")}
    alice = Caller(gateway)
    id = alice.create(webhook_url=receiver.url("/hook"))
    assert settled(alice, id) == {"status": "delivered", "attempts": 3}
    assert {request.path for request in receiver.requests} == {"/hook"}
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1


@pytest.mark.usefixtures("quick")
def test_it_is_given_up_after_its_last_attempt(gateway: RunningGateway, receiver: Receiver):
    before = gateway.metric("asr_gateway_jobs_webhooks_dead_total")
    receiver.answers = [503] * 9
    alice = Caller(gateway)
    id = alice.create(webhook_url=receiver.url())
    assert settled(alice, id) == {"status": "dead", "attempts": 3}
    assert alice.job(id)["status"] == "succeeded"
    wait_until(lambda: gateway.metric("asr_gateway_jobs_webhooks_dead_total") == before + 1)
    assert gateway.metric("asr_gateway_jobs_webhook_attempts_total", outcome="failed") >= 3


def test_a_receiver_that_is_gone_is_called_once(gateway: RunningGateway, receiver: Receiver):
    receiver.answers = [410]
    alice = Caller(gateway)
    id = alice.create(webhook_url=receiver.url())
    assert settled(alice, id) == {"status": "dead", "attempts": 1}


@pytest.mark.usefixtures("quick")
def test_nobody_listens(gateway: RunningGateway, unused_tcp_port: int):
    alice = Caller(gateway)
    id = alice.create(webhook_url=f"http://127.0.0.1:{unused_tcp_port}/")
    assert settled(alice, id) == {"status": "dead", "attempts": 3}


@pytest.mark.usefixtures("quick")
def test_the_secret_is_that_of_the_keys_file_now(
    server: FakeServer, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("asr_gateway.keys.CHECK_S", 0.0)
    path = tmp_path / "keys.json"
    write_keys(path)
    fresh = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    with running(server.url, keys=str(path), allow_private_urls=True) as gateway:
        alice = Caller(gateway)
        for secret, status in ((fresh, "delivered"), (None, "dead")):
            server.hung = True
            id = alice.create(webhook_url=receiver.url())
            write_keys(path, secret)
            server.hung = False
            assert settled(alice, id)["status"] == status
    [request] = receiver.requests
    Webhook(fresh).verify(request.body, dict(request.headers))


def test_without_a_secret_there_is_no_webhook(gateway: RunningGateway, receiver: Receiver):
    answer = Caller(gateway, "unsigned").post(webhook_url=receiver.url())
    assert code(answer) == (400, "webhook_secret_missing", "webhook_url")


@pytest.mark.parametrize("name", ["webhook_url", "url"])
def test_private_addresses_are_refused_unless_allowed(
    server: FakeServer, keys: Path, receiver: Receiver, name: str
):
    with running(server.url, keys=str(keys), allow_urls=True) as strict:
        audio = None if name == "url" else b"OggS"
        for url in (receiver.url(), receiver.url(host="localhost"), "http://[::ffff:7f00:1]/"):
            answer = Caller(strict).post(audio, **{name: url})
            assert code(answer) == (400, "private_address", name)
        answer = Caller(strict).post(audio, **{name: "ftp://example.com"})
        assert code(answer) == (400, "invalid_value", name)
    assert receiver.requests == []


def test_an_address_that_turned_private_is_not_called(
    server: FakeServer, keys: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    with running(server.url, keys=str(keys)) as strict:
        alice = Caller(strict)
        # At the request the name led to a public address.
        with monkeypatch.context() as patch:
            patch.setattr("asr_gateway.jobs.outbound.is_public", lambda address: True)
            server.hung = True
            id = alice.create(webhook_url=receiver.url(host="localhost"))
        server.hung = False
        assert settled(alice, id) == {"status": "dead", "attempts": 1}
        refused = strict.metric("asr_gateway_jobs_webhook_attempts_total", outcome="refused")
        assert refused == 1
    assert receiver.requests == []


def test_a_url_is_fetched_before_the_job_is_accepted(
    gateway: RunningGateway, server: FakeServer, receiver: Receiver
):
    server.answer(b"OggS from afar", "from afar")
    receiver.files["/a.ogg"] = b"OggS from afar"
    alice = Caller(gateway)
    answer = alice.post(None, "a key", url=receiver.url("/a.ogg"))
    assert answer.status_code == 202, answer.text
    [fetched] = receiver.requests
    # A packed recording would not be one.
    assert fetched.headers["accept-encoding"] == "identity"
    again = alice.post(None, "a key", url=receiver.url("/a.ogg"))
    assert (again.status_code, len(receiver.requests)) == (200, 1)
    id = answer.json()["id"]
    alice.ended(id)
    assert alice.ask(f"/{id}/result").json()["text"] == "from afar"


def test_a_url_that_fails_is_the_requests_fault(gateway: RunningGateway, receiver: Receiver):
    alice = Caller(gateway)
    receiver.answers = [404, 302]
    for _ in range(2):
        answer = alice.post(None, url=receiver.url("/a"))
        assert code(answer) == (400, "url_failed", "url")
    both = alice.post(b"OggS", url=receiver.url("/a"))
    assert code(both) == (400, "invalid_value", "url")


def test_a_url_may_not_be_larger_than_an_upload(server: FakeServer, receiver: Receiver):
    receiver.files["/a"] = b"OggS" + bytes(5000)
    with running(
        server.url, allow_urls=True, allow_private_urls=True, max_upload_bytes=4000
    ) as small:
        answer = Caller(small).post(None, url=receiver.url("/a"))
        assert code(answer) == (413, "file_too_large", "url")


@given(attempts=st.integers(1, 20))
def test_pauses_grow_and_end(attempts: int):
    backoff = Backoff()
    pause_s = backoff.pause_s(attempts)
    if attempts >= backoff.max_attempts:
        assert pause_s is None
    else:
        plain = backoff.first_s * backoff.factor ** (attempts - 1)
        assert pause_s == pytest.approx(plain, rel=backoff.jitter * 1.01)


BAD_SECRETS = ["", "whsec_", "abc", "whsec_???", "whsec_c2hvcnQ=", "whsec_" + "A" * 400]


@pytest.mark.parametrize("secret", BAD_SECRETS)
def test_a_bad_secret_is_refused_at_the_start(tmp_path: Path, secret: str):
    with pytest.raises(StartError, match=r"webhook_secret: .*not whsec_ and base64"):
        Keys(Path(write_keys(tmp_path / "keys.json", secret)))


def test_a_slow_receiver_holds_up_no_other(
    server: FakeServer, keys: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    for module in (webhooks, service):
        monkeypatch.setattr(module, "TIMEOUT_S", 120.0)
    with running(server.url, keys=str(keys), allow_private_urls=True) as gateway:
        alice = Caller(gateway)
        with receiver.holding("/slow"):
            slow = alice.create(webhook_url=receiver.url("/slow"))
            wait_until(lambda: [request.path for request in receiver.requests] == ["/slow"])
            assert settled(alice, alice.create(webhook_url=receiver.url("/quick"))) == {
                "status": "delivered",
                "attempts": 1,
            }
            assert alice.job(slow)["webhook"] == {"status": "pending", "attempts": 1}
        assert settled(alice, slow) == {"status": "delivered", "attempts": 1}
