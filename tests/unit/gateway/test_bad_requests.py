"""Random requests: every answer has a code, none is a defect, and neighbours are served."""

from __future__ import annotations

import contextlib
import random
import re

import pytest

from tests.support.gateway.bad_requests import bad_request
from tests.support.gateway.running import RunningGateway
from tests.unit.client.waiting import wait_until

COUNT = 100
ANSWER_S = 0.05
"""The wait for an answer; an incomplete request gets none."""


def status(gateway: RunningGateway, request: bytes) -> int | None:
    """The status that a request is answered with; None where the connection only ends."""
    with gateway.connect() as caller, contextlib.suppress(ConnectionError, TimeoutError):
        caller.settimeout(ANSWER_S)
        caller.sendall(request)
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", caller.recv(65536))
        return int(found[1]) if found else None
    return None


@pytest.mark.parametrize("seed", [1, 2])
def test_random_requests(gateway: RunningGateway, seed: int, caplog: pytest.LogCaptureFixture):
    dice = random.Random(seed)
    seen: set[int | None] = set()
    for number in range(COUNT):
        request = bad_request(dice)
        answer = status(gateway, request)
        seen.add(answer)
        assert answer is None or answer < 500, (number, answer, request[:300])
        if number % 50 == 0:
            assert gateway.http.get("/livez").status_code == 200
    assert {400, None} <= seen
    wait_until(lambda: gateway.metric("asr_gateway_requests_in_flight") == 0)
    wait_until(lambda: len(gateway.server.server_state.connections) <= 1)
    assert "Traceback" not in caplog.text
    heard = gateway.http.post(
        "/v1/audio/transcriptions", files={"file": b"OggS"}, data={"model": "whisper-1"}
    )
    assert heard.json()["text"] == "seven of clubs"
