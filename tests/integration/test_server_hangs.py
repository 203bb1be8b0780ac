"""Processes that stand still instead of dying, and a tritonserver that ends."""

from __future__ import annotations

import signal

import psutil
import pytest
from tritonclient.utils import InferenceServerException

from tests.support.server.dummy_server import DummyServer, dummy_server, wait_for

pytestmark = pytest.mark.server

HANG_S = 4.0
"""Half of the server's own limit: these tests wait for it six times."""


def restarts(server: DummyServer) -> int:
    page = server.get("/metrics")[1]
    (line,) = (line for line in page.splitlines() if line.startswith("asr_restarts_total "))
    return int(line.split()[1])


def is_whole(server: DummyServer) -> bool:
    status, body = server.ready()
    return (status, body["state"]) == (200, "ready")


@pytest.mark.parametrize("model", ["wav2vec2", "transcribe"])
def test_an_instance_that_stands_still_is_replaced(tmp_path, model):
    """Idle and busy; before, the server reported ready for as long as the process stood still."""
    with dummy_server(tmp_path, "--instances=1", "--frontends=1", hang_s=HANG_S) as server:
        assert server.call(model) > 0
        for at_work in (False, True):
            (stub,) = server.stubs(model)
            if at_work:
                call = server.call_in_background(model, 3.0)
                begun = server.begun(model)
                wait_for(lambda begun=begun: server.begun(model) >= begun)
            stub.suspend()
            wait_for(lambda: server.ready()[0] == 503)
            wait_for(lambda: is_whole(server), timeout_s=60)
            assert server.call(model) not in (0, stub.pid)
            if at_work:
                answer = call.result()
                assert isinstance(answer, int) or "is not healthy" in str(answer), answer
            # The one that stood still served alone, so it is gone.
            assert not stub.is_running() or stub.status() == psutil.STATUS_ZOMBIE
        assert server.ready()[1]["models"][model]["hangs"] == 2
        assert "no sign of life" in server.log.read_text()
        assert server.stop() == 0
        assert server.leftovers() == []


def _kill(triton: psutil.Process) -> None:
    triton.kill()


def _crash(triton: psutil.Process) -> None:
    triton.send_signal(signal.SIGFPE)


def _suspend(triton: psutil.Process) -> None:
    triton.suspend()


def test_a_tritonserver_that_ends_or_hangs_is_replaced(tmp_path):
    """Three times at once; then there is a pause first, which a stop does not wait for."""
    with dummy_server(tmp_path, hang_s=HANG_S) as server:
        for life, fault in enumerate((_kill, _crash, _suspend), 1):
            call = server.call_in_background("transcribe", 300.0)
            wait_for(lambda life=life: server.begun("transcribe") == life)
            before = server.triton().pid
            fault(server.triton())
            wait_for(lambda: server.ready()[0] == 503)
            assert server.ready()[1]["state"] == "restarting"
            # By then its calls have ended, with a status that may be sent again.
            error = call.result()
            assert isinstance(error, InferenceServerException)
            assert "UNAVAILABLE" in str(error.status())
            wait_for(lambda: is_whole(server), timeout_s=60)
            assert restarts(server) == life
            assert server.triton().pid != before
            server.remember()
            assert server.call("wav2vec2") > 0
        server.triton().kill()
        wait_for(lambda: server.ready()[1]["state"] == "restarting")
        assert server.stop() == 0
        assert server.leftovers() == []


def test_a_stop_does_not_wait_for_a_tritonserver_that_hangs(tmp_path):
    with dummy_server(tmp_path, hang_s=HANG_S) as server:
        server.triton().suspend()
        assert server.stop() == 1
        assert "hangs: it has not answered" in server.log.read_text()
        assert server.leftovers() == []
