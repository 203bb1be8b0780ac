"""Kill gateways at random moments under load, and see whether a job is lost or changed.

    python -m tools.gateway_kills --kills 100 --store sqlite --store postgresql

Two gateways share a store in front of the SDK's fake server. While callers create and cancel jobs,
one gateway after another is killed with SIGKILL and started again. In the end every accepted job
has to be there once, ended, with its own words; an end that somebody saw must not have changed;
each webhook must have come, with one id for each job. It prints one JSON line for each store; its
exit status is 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import random
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from asr_client.testing import FakeServer
from tools.postgresql import postgresql

REPLICAS = 2
CALLERS = 3
MAX_UNENDED = 40
"""Jobs that wait or run; callers hold back at more."""
MAX_PAUSE_S = 1.5
"""A kill comes up to so long after the last replica has started."""
CANCELLED_SHARE = 0.1
END_TIMEOUT_S = 240.0
"""The last jobs wait for leases of 30 s."""
_KEY = "a key"
_ENDS = ("succeeded", "failed", "cancelled")


@dataclass
class Tally:
    """What was seen; the lists name what is wrong."""

    store: str
    kills: int = 0
    jobs: int = 0
    cancelled: int = 0
    repeated_requests: int = 0
    """Requests that were sent again with their idempotency key, because a gateway died."""
    recognitions: int = 0
    """Calls to asr-server; those beyond one for each job are work of killed gateways."""
    repeated_webhooks: int = 0
    orphans: int = 0
    """Recordings without a job, which a gateway deletes after ten minutes."""
    load_s: float = 0.0
    """How long gateways were killed."""
    settle_s: float = 0.0
    """How long the last jobs and webhooks took, whose gateways were killed."""
    wrong: list[str] = field(default_factory=list)


class Replica:
    """One gateway process, and its next ones."""

    def __init__(self, folder: Path, number: int, arguments: list[str]) -> None:
        self._log = folder / f"gateway-{number}.log"
        self._arguments = arguments
        self.url: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        program = Path(sys.executable).with_name("asr-gateway")
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [program, *self._arguments], stdout=log, stderr=log, start_new_session=True
            )
        while True:
            text = self._log.read_text("utf-8", "replace")
            if found := re.search(r"listening on (http://\S+)", text):
                self.url = found[1]
                return
            if self._process.poll() is not None:
                raise RuntimeError(f"asr-gateway ended: {text}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.url = None
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it with SIGTERM; its exit status."""
        self.url = None
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(120)


class Load:
    """Callers, and what they were promised."""

    def __init__(self, replicas: list[Replica], server: FakeServer, rng: random.Random) -> None:
        self._replicas = replicas
        self._server = server
        self._rng = rng
        self._lock = threading.Lock()
        self._http = httpx2.Client(timeout=30, headers={"authorization": f"Bearer {_KEY}"})
        self.stop = threading.Event()
        self.accepted: dict[str, str] = {}
        """Texts by job id."""
        self.must_be_cancelled: set[str] = set()
        self.seen: dict[str, tuple[str, float]] = {}
        """Ends as they were seen: status and time."""
        self.repeated = 0
        self.wrong: list[str] = []

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """An answer of some replica; None when it died meanwhile, or cannot answer now."""
        urls = [url for replica in self._replicas if (url := replica.url) is not None]
        if not urls:
            return None
        try:
            answer = self._http.request(method, self._rng.choice(urls) + path, **more)
        except httpx2.TransportError:
            return None
        if answer.status_code == 503:
            return None
        if answer.status_code >= 500:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    def create(self, webhook_url: str) -> str:
        """One job; its request is repeated until it is accepted."""
        text = f"job {secrets.token_hex(6)}"
        audio = b"OggS" + text.encode()
        self._server.answer(audio, text)
        key = {"idempotency-key": text.replace(" ", "-")}
        fields = {"model": "whisper-1", "webhook_url": webhook_url}
        answer = None
        while answer is None:
            answer = self.ask("POST", "/v1/jobs", files={"file": audio}, data=fields, headers=key)
            if answer is None:
                self.repeated += 1
                time.sleep(0.05)
        if answer.status_code not in (200, 202):
            raise RuntimeError(f"{answer.status_code} {answer.text}")
        id = str(answer.json()["id"])
        with self._lock:
            if id in self.accepted:
                self.wrong.append(f"{id}: two requests made it")
            self.accepted[id] = text
        return id

    def run(self, webhook_url: str) -> None:
        """Create jobs, cancel some and look at others, until told to stop."""
        while not self.stop.is_set():
            if len(self.accepted) - len(self.seen) < MAX_UNENDED:
                id = self.create(webhook_url)
                if self._rng.random() < CANCELLED_SHARE:
                    answer = self.ask("POST", f"/v1/jobs/{id}/cancel")
                    if answer is not None and answer.status_code == 200:
                        self.must_be_cancelled.add(id)
            self.look("/v1/jobs?limit=100")
            self.stop.wait(self._rng.uniform(0.0, 0.1))

    def look(self, path: str) -> tuple[list[dict[str, Any]], bool] | None:
        """Compare a page of jobs with what was seen before; the page, and whether there are more.

        None when no replica answered.
        """
        with self._lock:
            before = dict(self.seen)
        answer = self.ask("GET", path)
        if answer is None:
            return None
        page: list[dict[str, Any]] = answer.json()["data"]
        for job in page:
            end = (job["status"], job["ended_at"])
            if before.get(job["id"], end) != end:
                self.wrong.append(f"{job['id']}: {before[job['id']]} became {end}")
            if job["status"] in _ENDS:
                with self._lock:
                    self.seen[job["id"]] = end
        return page, answer.json()["has_more"]

    def all_jobs(self) -> list[dict[str, Any]]:
        """Every job of the store."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            looked = self.look(f"/v1/jobs?limit=100{after}")
            if looked is None:
                continue
            found += looked[0]
            if not looked[1]:
                return found
            after = f"&after={found[-1]['id']}"


def run(store: str, *, kills: int, seed: int) -> Tally:
    """Kill so many gateways on a new store of this kind.

    Args:
        store: "sqlite" or "postgresql".
        kills: with SIGKILL.
        seed: of the random moments.
    """
    tally = Tally(store)
    began_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-kills-")))
        url = f"sqlite:///{folder}/store.sqlite3"
        if store == "postgresql":
            url = stack.enter_context(postgresql()).new_database()
        server = stack.enter_context(FakeServer())
        server.disturb({}, slow=0.5, slow_s=0.3, seed=seed)
        webhooks = stack.enter_context(_receiver())
        replicas = [
            Replica(folder, number, _arguments(folder, server.url, url))
            for number in range(REPLICAS)
        ]
        for replica in replicas:
            replica.start()
            stack.callback(replica.stop)
        load = Load(replicas, server, random.Random(seed))
        stack.callback(load.close)
        _kill(replicas, load, webhooks.url, kills=kills, rng=random.Random(seed))
        tally.load_s = round(time.monotonic() - began_s, 1)
        _settle(load)
        tally.settle_s = round(time.monotonic() - began_s - tally.load_s, 1)
        _judge(tally, load, webhooks, server, folder)
        tally.kills = kills
    return tally


def _arguments(folder: Path, server: str, store: str) -> list[str]:
    keys = folder / "keys.json"
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    entry = {"name": "caller", "sha256": hashlib.sha256(_KEY.encode()).hexdigest()}
    if not keys.exists():
        keys.touch(mode=0o600)
        keys.write_text(json.dumps({"keys": [{**entry, "webhook_secret": secret}]}))
    return [
        f"--server={server}",
        "--http-port=0",
        f"--store={store}",
        f"--blobs={folder}/blobs",
        f"--keys={keys}",
        "--allow-private-urls",
        "--max-jobs-at-once=4",
        "--min-free-bytes=0",
    ]


def _kill(
    replicas: list[Replica], load: Load, webhook_url: str, *, kills: int, rng: random.Random
) -> None:
    """Kill one gateway after another while callers call."""
    with ThreadPoolExecutor(CALLERS) as callers:
        running = [callers.submit(load.run, webhook_url) for _ in range(CALLERS)]
        try:
            for _ in range(kills):
                time.sleep(rng.uniform(0.0, MAX_PAUSE_S))
                victim = rng.choice(replicas)
                victim.kill()
                victim.start()
        finally:
            load.stop.set()
        for caller in running:
            caller.result()


def _settle(load: Load) -> None:
    """Wait until everything has ended and every webhook has come."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        jobs = load.all_jobs()
        if all(job["status"] in _ENDS and job["webhook"]["status"] != "pending" for job in jobs):
            return
        time.sleep(0.5)


def _judge(tally: Tally, load: Load, webhooks: _Webhooks, server: FakeServer, folder: Path) -> None:
    jobs = {job["id"]: job for job in load.all_jobs()}
    tally.wrong = load.wrong
    if jobs.keys() != load.accepted.keys():
        lost, strange = load.accepted.keys() - jobs.keys(), jobs.keys() - load.accepted.keys()
        tally.wrong.append(f"lost: {sorted(lost)}; made twice: {sorted(strange)}")
    for id in jobs.keys() & load.accepted.keys():
        tally.wrong += _wrong_end(load, jobs[id], load.accepted[id])
        if len(webhooks.ids[id]) != 1:
            tally.wrong.append(f"{id}: webhooks with the ids {sorted(webhooks.ids[id])}")
        if len(webhooks.statuses[id]) != 1:
            tally.wrong.append(f"{id}: webhooks said {sorted(webhooks.statuses[id])}")
    left = {path.name.removesuffix(".part") for path in (folder / "blobs").iterdir()}
    if left & jobs.keys():
        tally.wrong.append(f"recordings of ended jobs: {sorted(left & jobs.keys())}")
    tally.orphans = len(left)
    tally.jobs = len(jobs)
    tally.cancelled = sum(job["status"] == "cancelled" for job in jobs.values())
    tally.repeated_requests = load.repeated
    tally.recognitions = sum(b"pcm_s16le" not in request.options for request in server.requests)
    tally.repeated_webhooks = webhooks.calls - len(webhooks.ids)


def _wrong_end(load: Load, job: dict[str, Any], text: str) -> Iterator[str]:
    id, status = job["id"], job["status"]
    if status == "cancelled":
        return
    if status != "succeeded" or id in load.must_be_cancelled:
        yield f"{id}: {status}, {job['error']}"
        return
    answer = load.ask("GET", f"/v1/jobs/{id}/result")
    if answer is None or answer.json().get("text") != text:
        yield f"{id}: another result than {text!r}"
    if job["webhook"]["status"] != "delivered":
        yield f"{id}: webhook {job['webhook']}"


class _Webhooks:
    """What a receiver of webhooks has had."""

    def __init__(self) -> None:
        self.url = ""
        self.calls = 0
        self.ids: defaultdict[str, set[str]] = defaultdict(set)
        self.statuses: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, id: str, body: bytes) -> None:
        data = json.loads(body)["data"]
        self.calls += 1
        self.ids[data["id"]].add(id)
        self.statuses[data["id"]].add(data["status"])


@contextlib.contextmanager
def _receiver() -> Iterator[_Webhooks]:
    received = _Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.take(self.headers["webhook-id"], body)
            with contextlib.suppress(ConnectionError):
                self.send_response(204)
                self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


def main(argv: list[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the command; 1 when something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=100, help="kills on each store")
    parser.add_argument("--store", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    wrong = False
    for store in args.store or ("sqlite", "postgresql"):
        tally = run(store, kills=args.kills, seed=args.seed)
        show(json.dumps(vars(tally)))
        wrong = wrong or bool(tally.wrong)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
