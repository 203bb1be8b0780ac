from __future__ import annotations

import contextlib
import wave
from io import BytesIO

import pytest

from asr_client import Client
from asr_client.testing import FakeServer
from benchmarks import gateway


def test_each_recording_is_computed_once_and_then_cached():
    with (
        FakeServer() as server,
        gateway.gateway(server.url, "--cache-bytes=1000000") as address,
        contextlib.closing(gateway.Caller(address)) as caller,
    ):
        computed, again = gateway.cached(caller, 0.1, 3)
        assert len(computed) == len(again) == len(server.requests) == 3
        assert min(*computed, *again) > 0


def test_without_a_cache_there_is_nothing_to_measure_but_the_way():
    with (
        FakeServer() as server,
        gateway.gateway(server.url) as address,
        contextlib.closing(gateway.Caller(address)) as caller,
        Client(server.url) as client,
    ):
        with pytest.raises(RuntimeError, match="the cache answered none, then none"):
            gateway.cached(caller, 0.1, 1)
        before = len(server.requests)
        direct, through = gateway.latencies(client, caller, 3)
        assert len(direct) == len(through) == 3
        assert len(server.requests) == before + 6
        rates = gateway.throughputs(client, address, 1, 0.1)
        assert all(rate > 0 for (rate,) in rates)


def test_recordings_are_of_their_length_and_differ():
    made = gateway.recordings(0.5, 4)
    assert len(set(made)) == 4
    for recording in made:
        with wave.open(BytesIO(recording)) as file:
            assert file.getnframes() / file.getframerate() == 0.5
