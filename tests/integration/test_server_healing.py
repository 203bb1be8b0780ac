"""Dead model instances are replaced while the server runs."""

from __future__ import annotations

import pytest
from tritonclient.utils import InferenceServerException

from tests.support.server.dummy_server import MODELS, DummyServer, dummy_server, wait_for

pytestmark = pytest.mark.server


def _healed(server: DummyServer, model: str, heals: int) -> bool:
    status, health = server.ready()
    return status == 200 and health["models"][model]["heals"] == heals


def test_a_killed_instance_of_each_model_is_replaced(tmp_path):
    with dummy_server(tmp_path) as server:
        for model in MODELS:
            victim, survivor = server.stubs(model)
            victim.kill()
            # The other instance serves.
            wait_for(lambda: server.ready()[1]["state"] == "healing")
            status, body = server.ready()
            assert (status, body["ready"]) == (200, True)
            wait_for(lambda model=model: _healed(server, model, 1))
            server.remember()
            new = {stub.pid for stub in server.stubs(model)} - {victim.pid, survivor.pid}
            assert len(new) == 2
            assert {server.call(model) for _ in range(8)} <= new
        assert 'asr_heals_total{model="transcribe"} 1' in server.get("/metrics")[1]
        # Triton has polled since the new load: a load changes nothing that it takes for a change.
        assert server.log.read_text().count("loading: wav2vec2:1") == 2
        # The other old instance is ended after it has been idle for a while.
        wait_for(lambda: len(server.stubs("wav2vec2")) == 2)
        assert server.stop() == 0
        assert server.leftovers() == []


def test_a_dead_front_costs_only_its_own_calls(tmp_path):
    with dummy_server(tmp_path) as server:
        calls = [server.call_in_background("transcribe", 8.0) for _ in range(6)]
        wait_for(lambda: server.begun("transcribe") == len(calls))
        server.stubs("transcribe")[0].kill()
        wait_for(lambda: _healed(server, "transcribe", 1))
        server.remember()
        assert server.call("transcribe") > 0
        # A stop now waits for the old front that lives, and not for the calls of the dead one.
        wait_for(lambda: sum(isinstance(call.answer, int) for call in calls) > 0)
        assert server.stop() == 0
        finished = sum(isinstance(call.result(), int) for call in calls)
        assert 0 < finished < len(calls)
        assert server.leftovers() == []


def test_a_model_that_does_not_load_beside_the_old_one_is_taken_out_first(tmp_path):
    with dummy_server(tmp_path) as server:
        (server.control / "fail-wav2vec2-once").touch()
        server.stubs("wav2vec2")[0].kill()
        wait_for(lambda: _healed(server, "wav2vec2", 1), timeout_s=60)
        assert "killing those and loading once more" in server.log.read_text()
        assert server.call("wav2vec2") in {stub.pid for stub in server.stubs("wav2vec2")}


def test_it_ends_when_a_model_cannot_be_healed(tmp_path):
    with dummy_server(tmp_path) as server:
        (server.control / "fail-wav2vec2").touch()
        server.stubs("wav2vec2")[0].kill()
        assert server.process.wait(timeout=60) == 1
        assert "wav2vec2: giving up: it failed to load twice" in server.log.read_text()
        assert server.leftovers() == []


def test_under_load_calls_fail_only_until_the_instance_is_replaced(tmp_path):
    with dummy_server(tmp_path, "--instances", "1") as server:
        calls = [server.call_in_background("wav2vec2", 0.5) for _ in range(60)]
        wait_for(lambda: server.begun("wav2vec2") > 0)
        server.stubs("wav2vec2")[0].kill()
        with pytest.raises(InferenceServerException, match=r"Stub process .* is not healthy"):
            server.call("wav2vec2")
        wait_for(lambda: _healed(server, "wav2vec2", 1))
        assert server.call("wav2vec2") > 0
        # Its queued and running calls end, if with an error.
        assert any(isinstance(call.result(), Exception) for call in calls)
