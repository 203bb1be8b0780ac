"""The faults that `record_series` makes, and the alerts that fire in each."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tools.local_gateway import LocalGateway, upload
from tools.local_server import LocalServer
from tools.recordings import transcripts

_POLL_S = 0.05
KEY = secrets.token_hex(16)
"""The key of the gateway's callers."""


@dataclass
class Run:
    """A server on which a case makes its fault, until `over` is set."""

    server: LocalServer
    gateway: LocalGateway | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def sleep(self, seconds: float) -> bool:
        """Wait; returns False if the recording is over."""
        return not self.over.wait(seconds)

    def newest(self, model: str) -> psutil.Process | None:
        """The process of a model that was started last; None if there is none."""
        with contextlib.suppress(psutil.Error):
            return max(self.server.stubs(model), key=psutil.Process.create_time, default=None)
        return None

    def heals(self) -> int:
        """Times that dead processes were replaced."""
        models = self.server.health()[1].get("models", {})
        return sum(int(model["heals"]) for model in models.values())


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault.

    Attributes:
        about: the fault, in words.
        fires: the alerts that fire in it at some moment; no others do.
        fault: makes it, from a thread.
        flags: more flags for the server.
        callers: calls in flight from start to end.
        clip_s: length of their recordings, seconds; 0 for those of tests/data.
        samples: scrapes; the fault begins after the first ten.
        certificate_days: days for which the server's certificate is valid; 0 for no TLS.
        own_shm: whether /dev/shm is a small one of its own; the gateway's store is on it then.
        gateway: whether a gateway runs, with two callers of its own.
    """

    about: str
    fires: tuple[str, ...]
    fault: Callable[[Run], None] = lambda run: None
    flags: tuple[str, ...] = ("--frontends=2",)
    callers: int = 0
    clip_s: int = 0
    samples: int = 60
    certificate_days: int = 0
    own_shm: bool = False
    gateway: bool = False


def stop_all(run: Run) -> None:
    """The server and the gateway end."""
    assert run.gateway is not None
    run.gateway.process.terminate()
    run.server.stop(at_once=True)


def lose_webhooks_and_the_server(run: Run) -> None:
    """A job's webhook answers 410; then the server ends, and more jobs come."""
    assert run.gateway is not None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gone) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        hook = {"webhook_url": f"http://127.0.0.1:{receiver.server_port}/"}
        clip = transcripts()[0][0].read_bytes()
        upload(run.gateway.address, clip, path="/v1/jobs", fields=hook, key=KEY)
        run.sleep(10)
        run.server.stop(at_once=True)
        for _ in range(3):
            upload(run.gateway.address, clip, path="/v1/jobs", key=KEY)
        run.over.wait()
        receiver.shutdown()


class _Gone(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(410)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


def gateway_flags(folder: Path) -> list[str]:
    """A gateway with one caller, whose jobs may have webhooks on this machine and a small disk."""
    keys = folder / "keys.json"
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    entry = {"name": "caller", "sha256": digest, "webhook_secret": secret}
    keys.touch(0o600)
    keys.write_text(json.dumps({"keys": [entry]}), encoding="utf-8")
    return [f"--keys={keys}", "--allow-private-urls", f"--min-free-bytes={2**20}"]


def kill_again_and_again(run: Run) -> None:
    """Kill wav2vec2 whenever it serves; the fourth replacement waits for half a minute."""
    while run.sleep(0):
        before, process = run.heals(), run.newest("wav2vec2")
        if process is not None:
            process.kill()
        while run.heals() == before and run.sleep(_POLL_S):
            pass
        run.sleep(1)


def kill_fronts(run: Run) -> None:
    """Kill all fronts twice: the calls that they work on are lost."""
    for _ in range(2):
        if run.sleep(18):
            for process in run.server.stubs("transcribe"):
                process.kill()


def hang(run: Run) -> None:
    """A process of wav2vec2 stands still until it is killed."""
    process = run.newest("wav2vec2")
    assert process is not None, "a server that is ready has one"
    process.suspend()


def stall(run: Run) -> None:
    """Wav2vec2 stands still for 6 s at a time, too short for a hang, as where a machine swaps."""
    while run.sleep(0):
        process = run.newest("wav2vec2")
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.suspend()
                run.sleep(6)
                process.resume()
        run.sleep(0.5)


def fill_shared_memory(run: Run) -> None:
    """Another program takes all of /dev/shm."""
    file = Path("/dev/shm/filled")
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as taken:
        while True:
            taken.write(bytes(2**16))
    run.over.wait()
    file.unlink()


CASES: Mapping[str, Case] = {
    "healthy": Case(
        about="Four callers, and a certificate that is valid for 90 days.",
        fires=(),
        callers=4,
        certificate_days=90,
    ),
    "down": Case(
        about="The server and the gateway end.",
        fires=("AsrGatewayDown", "AsrTargetDown"),
        fault=stop_all,
        samples=24,
        gateway=True,
    ),
    "gateway-healthy": Case(about="Two callers at a gateway.", fires=(), gateway=True),
    "gateway-faults": Case(
        about="A small disk, a webhook that answers 410, and then no server.",
        fires=(
            "AsrGatewayJobsStuck",
            "AsrGatewayServerFails",
            "AsrGatewayStoreNearlyFull",
            "AsrGatewayWebhooksDead",
            "AsrTargetDown",
        ),
        fault=lose_webhooks_and_the_server,
        samples=90,
        own_shm=True,
        gateway=True,
    ),
    "certificate": Case(
        about="The certificate is valid for five more days.",
        fires=("AsrCertificateExpires",),
        samples=12,
        certificate_days=5,
    ),
    "full-queue": Case(
        about="24 callers; each front takes five recordings, and four may wait.",
        fires=("AsrQueueNearlyFull",),
        flags=("--frontends=2", "--max-audio-s=20", "--max-queue-size=4"),
        callers=24,
        clip_s=20,
    ),
    "stalls": Case(
        about="wav2vec2 stands still for 6 s at a time.",
        fires=("AsrSlow",),
        fault=stall,
        callers=8,
    ),
    "heal-loop": Case(
        about="wav2vec2 is killed whenever it serves.",
        fires=("AsrHealLoop", "AsrNoProgress", "AsrNotReady"),
        fault=kill_again_and_again,
        callers=8,
        samples=90,
    ),
    "lost-calls": Case(
        about="All fronts are killed twice, with the calls that they work on.",
        fires=("AsrErrorBudgetBurnsFast", "AsrErrorBudgetBurnsSlowly"),
        fault=kill_fronts,
        callers=8,
        clip_s=60,
    ),
    "hang": Case(
        about="wav2vec2 stands still until it is killed and replaced; that takes minutes here.",
        fires=("AsrHang", "AsrNoProgress", "AsrNotReady"),
        fault=hang,
        callers=2,
    ),
    "shared-memory": Case(
        about="Another program fills /dev/shm.",
        fires=("AsrMemoryNearlyFull",),
        fault=fill_shared_memory,
        callers=4,
        own_shm=True,
    ),
}
