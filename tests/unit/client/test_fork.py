"""Clients and forked processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from asr_client.testing import FakeServer

SCRIPT = """
import asyncio, inspect, os, sys
import numpy as np
from asr_client import AsyncClient, Client

url, kind, case = sys.argv[1:]
loop = asyncio.new_event_loop()

def do(value):
    return loop.run_until_complete(value) if inspect.iscoroutine(value) else value

def say(client):
    return do(client.transcribe(np.zeros(8000, np.int16), sample_rate=16000, timeout_s=20)).text

def make():
    return (Client if kind == "sync" else AsyncClient)(url)

def expect_refusal(call):
    try:
        do(call())
    except RuntimeError as error:
        assert "forked" in str(error), error
    else:
        raise SystemExit("no refusal")

client = make()
if case != "unused":
    print("parent", say(client), flush=True)
if case == "closed":
    do(client.close())
child = os.fork()
if child == 0:
    loop = asyncio.new_event_loop()
    status = 1
    try:
        if case == "used":
            for method in (client.is_ready, client.status, client.wait_until_ready):
                expect_refusal(method)
            expect_refusal(lambda: client.transcribe(b"RIFF"))
            expect_refusal(make().is_ready)
            do(client.close())
            do(client.close())
            del client
        elif case == "closed":
            expect_refusal(make().is_ready)
            expect_refusal(Client(url).is_ready)
        else:
            print("child", say(client), flush=True)
            do(client.close())
        status = 0
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert status == 0, status
client = make() if case == "closed" else client
print("parent", say(client), flush=True)
do(client.close())
loop.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("case", "kind"),
    [
        *(("used", kind) for kind in ("sync", "async")),
        *(("unused", kind) for kind in ("sync", "async")),
        *(("closed", kind) for kind in ("sync", "async")),
    ],
)
def test_after_a_fork_clients_work_or_say_so(server: FakeServer, case: str, kind: str) -> None:
    # The fake stays in this process: it is a gRPC server, and those do not fork at all.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.url, kind, case],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [who for who, _ in said] == {
        ("used", kind): ["parent", "parent"],
        ("unused", kind): ["child", "parent"],
        # gRPC's threads outlive the last channel for a moment, in which a child would hang.
        ("closed", kind): ["parent", "parent"],
    }[case, kind]
    assert {what for _, what in said} == {"seven of clubs"}
