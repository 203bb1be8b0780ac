"""Gateway processes under load: replicas, callers, a receiver of webhooks."""

from __future__ import annotations

import contextlib
import json
import random
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from asr_client.testing import FakeServer

API_KEY = "a key"
ENDS = ("succeeded", "failed", "cancelled")
MAX_UNENDED = 40
"""Jobs that wait or run; callers hold back at more."""
CANCELLED_SHARE = 0.1


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
        self._http = httpx2.Client(timeout=30, headers={"authorization": f"Bearer {API_KEY}"})
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
            if job["status"] in ENDS:
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


class Webhooks:
    """What a receiver of webhooks has had."""

    def __init__(self) -> None:
        self.url = ""
        self.calls = 0
        self.ids: defaultdict[str, set[str]] = defaultdict(set)
        self.statuses: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, id: str, body: bytes) -> None:
        """Note a call."""
        data = json.loads(body)["data"]
        self.calls += 1
        self.ids[data["id"]].add(id)
        self.statuses[data["id"]].add(data["status"])


@contextlib.contextmanager
def receiver() -> Iterator[Webhooks]:
    """A receiver on a free port of the loopback interface."""
    received = Webhooks()

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
