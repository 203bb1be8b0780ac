"""The faults that `record_series` makes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
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
MIB = 2**20


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


def stop_all(run: Run) -> None:
    """The server and the gateway end."""
    assert run.gateway is not None
    run.gateway.process.terminate()
    run.server.stop(at_once=True)


def lose_webhooks_and_the_server(run: Run) -> None:
    """A job's webhook answers 410; then the server ends, and more jobs come."""
    assert run.gateway is not None
    with dead_webhook(run.gateway):
        run.sleep(10)
        run.server.stop(at_once=True)
        queue_jobs(run.gateway, 3)
        run.over.wait()


def queue_jobs(gateway: LocalGateway, count: int, **fields: str) -> None:
    """Some jobs of one recording."""
    clip = transcripts()[0][0].read_bytes()
    for _ in range(count):
        upload(gateway.address, clip, path="/v1/jobs", fields=fields, key=KEY)


@contextlib.contextmanager
def dead_webhook(gateway: LocalGateway) -> Iterator[None]:
    """A job, and a receiver of its webhook that answers 410 during the block."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Gone) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        queue_jobs(gateway, 1, webhook_url=f"http://127.0.0.1:{receiver.server_port}/")
        yield
        receiver.shutdown()


class _Gone(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(410)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


def gateway_flags(folder: Path, *, small_disk: bool) -> list[str]:
    """A gateway with one caller, whose jobs may have webhooks on this machine.

    With a small disk, most of the room that the folder's disk has must stay free.
    """
    room = shutil.disk_usage(folder).free * 3 // 4 if small_disk else MIB
    keys = folder / "keys.json"
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    entry = {"name": "caller", "sha256": digest, "webhook_secret": secret}
    keys.touch(0o600)
    keys.write_text(json.dumps({"keys": [entry]}), encoding="utf-8")
    return [f"--keys={keys}", "--allow-private-urls", f"--min-free-bytes={room}"]


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


def fill_memory(run: Run) -> None:
    """Another program of the control group takes nearly all of its memory."""
    taken = []
    while memory_left(run.server) > 0.07 and run.sleep(_POLL_S):
        taken.append(b"x" * (32 * MIB))
    run.over.wait()


def memory_left(server: LocalServer) -> float:
    """The share of its memory that a server reports as left."""
    page = server.health_page("/metrics")[1]
    available, limit = (
        float(re.findall(rf'asr_memory_{name}_bytes{{kind="memory"}} (\S+)', page)[0])
        for name in ("available", "limit")
    )
    return available / limit


def lose_looks(run: Run) -> None:
    """The processes of transcribe_stream are killed with the looks that wait for the network."""
    for _ in range(2):
        process = run.newest("wav2vec2")
        assert process is not None, "nobody kills it"
        process.suspend()
        run.sleep(1.5)
        for front in run.server.stubs("transcribe_stream"):
            front.kill()
        process.resume()
        run.sleep(18)


def one_too_large_in_twenty(clips: Sequence[bytes]) -> list[bytes]:
    """Nineteen recordings, and one for which the server's disk has no room."""
    longest = max(clips, key=len)
    large = longest[:44] + longest[44:] * (8 * MIB // len(longest))
    return [clips[number % len(clips)] for number in range(19)] + [large]
