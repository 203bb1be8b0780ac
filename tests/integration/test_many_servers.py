"""One of two servers is killed and comes back, and no caller notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from asr_client import Client
from tests import recordings
from tests.integration import metrics_page
from tools.local_server import LocalServer, local_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

CALLERS = 16
CLIP = recordings.wav(recordings.pcm("cards-004-five-five.wav"))
FLAGS = ("--frontends=1", "--threads=1")


def answered(server: LocalServer) -> float:
    return metrics_page.value(server.metrics(), "nv_inference_request_success", model="transcribe")


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def kill(server: LocalServer) -> None:
    """SIGKILL asr-server; the processes below it end by themselves."""
    below = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive


class Load:
    """Callers that transcribe one clip over and over."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stop = threading.Event()
        self.texts: list[str] = []
        self.errors: list[Exception] = []

    def __call__(self) -> None:
        while not self.stop.is_set():
            try:
                self.texts.append(self.client.transcribe(CLIP).text)
            except Exception as error:
                self.errors.append(error)


def test_a_server_that_is_killed_and_comes_back_costs_no_call() -> None:
    with (
        local_server(*FLAGS) as lasting,
        local_server(*FLAGS) as killed,
        Client([lasting.url, killed.url], timeout_s=120) as client,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        load = Load(client)
        try:
            callers = [pool.submit(load) for _ in range(CALLERS)]
            until(lambda: min(answered(lasting), answered(killed)) > CALLERS, "no load on both")
            kill(killed)
            without = len(load.texts)
            until(lambda: len(load.texts) > without + 2 * CALLERS, "no calls with one server")
            with local_server(*FLAGS, ports=killed.ports) as back:
                until(lambda: answered(back) > CALLERS, "no load on the server that came back")
                before = answered(lasting), answered(back)
                until(lambda: answered(lasting) > before[0] + CALLERS, "no load on the other")
                assert answered(back) > before[1]
                load.stop.set()
                for caller in callers:
                    caller.result(120)
        finally:
            load.stop.set()
    assert load.errors == []
    assert len(set(load.texts)) == 1
