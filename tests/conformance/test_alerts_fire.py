"""Faults of a real server and gateway, and the alerts in a real Prometheus, with a thirtieth of
their times. The other alerts have recordings alone (monitoring/README.md)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server.dummy_server import wait_for
from tools.local_prometheus import firing, local_prometheus
from tools.local_server import LocalServer, local_server
from tools.record_series import callers, certificate, uploads
from tools.recorded_cases import Case
from tools.recorded_faults import Run, dead_webhook, kill_again_and_again, queue_jobs

pytestmark = pytest.mark.conformance

LIMIT_S = 150.0
"""For one fault on a busy machine; they take a quarter of it at most on an idle one."""
FULL_QUEUE = Case(about="", fires=(), callers=24, clip_s=60)
BAD_INPUT = Case(about="", fires=(), callers=2, clips=lambda clips: [b"no audio" * 10])
GOOD_INPUT = Case(about="", fires=(), callers=2)
SMALL_DISK = Case(about="", fires=(), gateway=True, small_disk=True)


class Alerts:
    """The alerts that have fired so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: set[str] = set()

    def wait(self, *names: str) -> None:
        """Wait until each of them has fired."""

        def all_have_fired() -> bool:
            self.seen |= firing(self.url)
            return set(names) <= self.seen

        try:
            wait_for(all_have_fired, timeout_s=LIMIT_S)
        except AssertionError:
            pytest.fail(f"{set(names) - self.seen} did not fire, {self.seen} did")


def kill_fronts(server: LocalServer) -> None:
    """Kill all fronts, and wait for others."""
    run = Run(server)
    before = run.heals()
    for front in server.stubs("transcribe"):
        front.kill()
    wait_for(lambda: run.heals() > before, timeout_s=LIMIT_S)


@contextlib.contextmanager
def killer(server: LocalServer) -> Iterator[None]:
    """Kills wav2vec2 whenever it serves, during the block."""
    run = Run(server)
    thread = threading.Thread(target=kill_again_and_again, args=(run,))
    thread.start()
    try:
        yield
    finally:
        run.over.set()
        thread.join()


@pytest.mark.timeout(600)
def test_each_fault_fires_its_alert(tmp_path: Path) -> None:
    tls_flags, tls = certificate(tmp_path, days=5)
    limits = ("--frontends=2", "--max-audio-s=60", "--max-queue-size=4")
    ca = f"--server-ca={tmp_path}/ca.pem"
    with (
        local_server(*limits, *tls_flags) as server,
        uploads(server, SMALL_DISK, ca) as gateway,
        local_prometheus(
            {
                "triton": f"127.0.0.1:{server.metrics_port}",
                "supervisor": f"127.0.0.1:{server.health_port}",
                "gateway": gateway.address,
            },
            tmp_path,
            faster=30,
        ) as url,
    ):
        alerts = Alerts(url)
        alerts.wait("AsrCertificateExpires", "AsrGatewayStoreNearlyFull")
        assert alerts.seen == {"AsrCertificateExpires", "AsrGatewayStoreNearlyFull"}
        with dead_webhook(gateway):
            alerts.wait("AsrGatewayWebhooksDead")
        with callers(server.url, FULL_QUEUE, tls):
            alerts.wait("AsrQueueNearlyFull")
            for _ in range(3):
                kill_fronts(server)
            alerts.wait("AsrHealLoop", "AsrErrorBudgetBurnsFast", "AsrErrorBudgetBurnsSlowly")
        assert not {"AsrBadInput", "AsrHang", "AsrTargetDown"} & alerts.seen
        # Alone: callers with good input are faster, and the alert looks at the share of the bad.
        with callers(server.url, BAD_INPUT, tls):
            alerts.wait("AsrBadInput")
        with callers(server.url, GOOD_INPUT, tls):
            (process,) = server.serving_stubs("wav2vec2")
            process.suspend()
            alerts.wait("AsrHang")
            with killer(server):
                alerts.wait("AsrNoProgress", "AsrNotReady")
        server.stop(at_once=True)
        queue_jobs(gateway, 4)
        alerts.wait("AsrTargetDown", "AsrGatewayServerFails", "AsrGatewayJobsStuck")
        gateway.process.terminate()
        alerts.wait("AsrGatewayDown")
