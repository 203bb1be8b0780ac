"""A real server, a real Prometheus, faults, and the alerts with a thirtieth of their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.server.dummy_server import wait_for
from tools.local_prometheus import firing, local_prometheus
from tools.local_server import local_server

pytestmark = pytest.mark.conformance

LIMIT_S = 120.0


def test_a_hang_and_a_dead_server_are_seen(tmp_path: Path) -> None:
    with local_server("--frontends=2") as server:
        targets = {
            "triton": f"127.0.0.1:{server.metrics_port}",
            "supervisor": f"127.0.0.1:{server.health_port}",
        }
        with local_prometheus(targets, tmp_path, faster=30) as url:
            assert firing(url) == set()
            (process,) = server.stubs("wav2vec2")
            process.suspend()
            wait_for(lambda: "AsrHang" in firing(url), timeout_s=LIMIT_S)
            server.stop(at_once=True)
            wait_for(lambda: "AsrTargetDown" in firing(url), timeout_s=LIMIT_S)
