from __future__ import annotations

import asyncio

from asr_client import AsyncClient
from asr_client.testing import FakeServer
from asr_gateway.health import Readiness
from tests.support.gateway.running import RunningGateway, running


def test_live_and_ready(gateway: RunningGateway):
    assert gateway.http.get("/livez").json() == {"live": True}
    answer = gateway.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "server_ready": True, "draining": False}


def test_without_its_server_it_is_live_and_not_ready(unused_tcp_port: int):
    with running(f"127.0.0.1:{unused_tcp_port}") as lonely:
        assert lonely.http.get("/livez").status_code == 200
        answer = lonely.http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["server_ready"] is False


def test_readiness_follows_the_server_and_the_drain(server: FakeServer):
    async def states() -> list[object]:
        async with AsyncClient(server.url) as client:
            readiness = Readiness(client)
            seen = [(await readiness.check())["ready"]]
            server.ready = False
            seen.append((await readiness.check())["ready"])  # still the answer of before
            readiness.forget()
            seen.append((await readiness.check())["ready"])
            server.ready = True
            readiness.forget()
            readiness.draining = True
            seen.append((await readiness.check())["ready"])
            return seen

    assert asyncio.run(states()) == [True, True, False, False]
