from __future__ import annotations

import wave
from io import BytesIO

import pytest

from asr_client.testing import FakeServer
from benchmarks import gateway_cache


def test_each_recording_is_computed_once_and_then_cached():
    with FakeServer() as server, gateway_cache.gateway(server.url) as caller:
        computed, cached = gateway_cache.measure(caller, 0.1, 3)
        assert len(computed) == len(cached) == len(server.requests) == 3
        assert min(*computed, *cached) > 0


def test_without_a_cache_there_is_nothing_to_measure():
    with (
        FakeServer() as server,
        gateway_cache.gateway(server.url, "--cache-bytes=0") as caller,
        pytest.raises(RuntimeError, match="the cache answered none, then none"),
    ):
        gateway_cache.measure(caller, 0.1, 1)


def test_recordings_are_of_their_length_and_differ():
    made = gateway_cache.recordings(0.5, 4)
    assert len(set(made)) == 4
    for recording in made:
        with wave.open(BytesIO(recording)) as file:
            assert file.getnframes() / file.getframerate() == 0.5
