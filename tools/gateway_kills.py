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
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_client.testing import FakeServer
from tools.gateway_load import API_KEY, ENDS, Load, Replica, Webhooks, receiver
from tools.postgresql import postgresql

REPLICAS = 2
CALLERS = 3
MAX_PAUSE_S = 1.5
"""A kill comes up to so long after the last replica has started."""
END_TIMEOUT_S = 240.0
"""The last jobs wait for leases of 30 s."""


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
        webhooks = stack.enter_context(receiver())
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
    entry = {"name": "caller", "sha256": hashlib.sha256(API_KEY.encode()).hexdigest()}
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
        if all(job["status"] in ENDS and job["webhook"]["status"] != "pending" for job in jobs):
            return
        time.sleep(0.5)


def _judge(tally: Tally, load: Load, webhooks: Webhooks, server: FakeServer, folder: Path) -> None:
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
