"""One of two servers is killed or stands still, and comes back; no caller notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from asr_client import AsrError, Client, ServerHealth
from tests.support import recordings
from tests.support.server import metrics_page
from tools.local_server import LocalServer, local_server

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

CALLERS = 16
FEW_CALLERS, CALLS = 4, 200
MIN_DEADLINE_S = 4.0
MAX_FAILED = 2
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


def test_a_server_that_is_killed_and_comes_back_costs_no_call(server: LocalServer) -> None:
    lasting, already = server, answered(server)
    with (
        local_server(*FLAGS) as killed,
        Client([lasting.url, killed.url], timeout_s=120) as client,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        load = Load(client)
        try:
            callers = [pool.submit(load) for _ in range(CALLERS)]
            until(lambda: answered(lasting) > already + CALLERS, "no load on the one")
            until(lambda: answered(killed) > CALLERS, "no load on the other")
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


def short_deadline_s(server: LocalServer) -> float:
    """A deadline far longer than a call takes on this machine, however busy it is."""

    def took_s(_: int) -> float:
        began_s = time.monotonic()
        client.transcribe(CLIP)
        return time.monotonic() - began_s

    with Client(server.url) as client, ThreadPoolExecutor(FEW_CALLERS) as pool:
        return max(MIN_DEADLINE_S, 8 * max(pool.map(took_s, range(5 * FEW_CALLERS))))


def failures(client: Client) -> list[bool]:
    """Whether each of 200 calls failed, in the order in which they began."""

    def fails(_: int) -> bool:
        try:
            client.transcribe(CLIP)
        except AsrError:
            return True
        return False

    with ThreadPoolExecutor(FEW_CALLERS) as pool:
        return list(pool.map(fails, range(CALLS)))


def check(failed: list[bool]) -> None:
    assert sum(failed) <= MAX_FAILED
    # The first callers cannot know; no later call may fail.
    assert not any(failed[CALLS // 2 :])


def test_a_server_that_stands_still_costs_two_of_200_calls_at_most(server: LocalServer) -> None:
    with (
        local_server(*FLAGS) as hung,
        Client([server.url, hung.url], timeout_s=short_deadline_s(hung)) as client,
    ):
        supervisor = psutil.Process(hung.process.pid)
        (triton,) = (one for one in supervisor.children() if one.name() == "tritonserver")
        try:
            until(lambda: all(one.state == "up" for one in ask(client)), "not both are used")
            # It would replace what stands still, and leave the SDK nothing to do.
            supervisor.suspend()
            triton.suspend()
            check(failures(client))
            assert [one.left_out for one in client.servers] == [False, True]
            triton.resume()
            until(lambda: all(one.state == "up" for one in ask(client)), "it was not taken back")
            # Now Triton says that all is ready, and the front takes recordings and answers none.
            for front in hung.stubs("transcribe"):
                front.suspend()
            check(failures(client))
            assert [one.state for one in client.servers] == ["up", "silent"]
            assert triton.is_running()
        finally:
            # Stopped as they are: a front that goes on may take Triton along.
            kill(hung)


def ask(client: Client) -> tuple[ServerHealth, ...]:
    """The client's view of its servers after one more call."""
    client.transcribe(CLIP)
    return client.servers
