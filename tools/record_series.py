"""Makes each fault on a real server, and writes its series into the tests of the alerts.

    python -m tools.record_series [CASE …]

A case runs an asr-server with the demo checkpoint, scrapes its two pages once a second as
Prometheus does, makes the fault, and writes `monitoring/prometheus/tests/CASE.yml` for promtool:
the series that the rules ask for, and the alerts that must be firing at the end; no others may. A
second of the recording is replayed as 15 s, because alerts wait for minutes. So a rate is a
fifteenth of the real one there; ratios, quantiles and increases are the same. Times of expiry are
written relative to the recording's start, because promtool's clock begins at 0.

The case shared-memory needs root: it has a /dev/shm of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import trustme
import yaml

from asr_client import AsrError, Client, RetryPolicy, TlsConfig
from tools.command import make_parser, run_main
from tools.local_server import LocalServer, local_server
from tools.promql import Selector, selectors
from tools.promtool_series import Scrape, input_series, scrape
from tools.recordings import read_pcm, transcripts, wav

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "monitoring" / "prometheus" / "rules"
TESTS = ROOT / "monitoring" / "prometheus" / "tests"
INTERVAL_S = 15
"""A second of a recording is replayed as so many."""
TRITON = {"instance": "asr-server:8002", "job": "triton"}
SUPERVISOR = {"instance": "asr-server:8003", "job": "supervisor"}
FIRING = 'group by (alertname) (ALERTS{alertstate="firing"})'
_OWN_SHM = "RECORD_SERIES_HAS_ITS_OWN_SHM"
_SHM_MIB = 256
_POLL_S = 0.05
_AFTER_A_FAILURE_S = 0.2


@dataclass
class Run:
    """A server on which a case makes its fault, until `over` is set."""

    server: LocalServer
    over: threading.Event = field(default_factory=threading.Event)

    def sleep(self, seconds: float) -> bool:
        """Wait; returns False if the recording is over."""
        return not self.over.wait(seconds)

    def newest(self, model: str) -> psutil.Process | None:
        """The process of a model that was started last; None if there is none."""
        with contextlib.suppress(psutil.Error):
            return max(self.server.stubs(model), key=psutil.Process.create_time, default=None)
        return None

    def heals(self) -> int:
        """Times that dead processes were replaced."""
        models = self.server.health()[1].get("models", {})
        return sum(int(model["heals"]) for model in models.values())


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault.

    Attributes:
        about: the fault, in words.
        fires: the alerts that fire in it; no others do.
        fault: makes it, from a thread.
        flags: more flags for the server.
        callers: calls in flight from start to end.
        clip_s: length of their recordings, seconds; 0 for those of tests/data.
        samples: scrapes; the fault begins after the first ten.
        certificate_days: days for which the server's certificate is valid; 0 for no TLS.
        own_shm: whether /dev/shm is a small one of its own.
    """

    about: str
    fires: tuple[str, ...]
    fault: Callable[[Run], None] = lambda run: None
    flags: tuple[str, ...] = ("--frontends=2",)
    callers: int = 0
    clip_s: int = 0
    samples: int = 60
    certificate_days: int = 0
    own_shm: bool = False


def stop_server(run: Run) -> None:
    """The whole server ends."""
    run.server.stop(at_once=True)


def kill_again_and_again(run: Run) -> None:
    """Kill wav2vec2 whenever it serves; the fourth replacement waits for half a minute."""
    while run.sleep(0):
        before, process = run.heals(), run.newest("wav2vec2")
        if process is not None:
            process.kill()
        while run.heals() == before and run.sleep(_POLL_S):
            pass
        run.sleep(1)


def kill_fronts(run: Run) -> None:
    """Kill all fronts twice: the calls that they work on are lost."""
    for _ in range(2):
        if run.sleep(18):
            for process in run.server.stubs("transcribe"):
                process.kill()


def hang(run: Run) -> None:
    """A process of wav2vec2 stands still until it is killed."""
    process = run.newest("wav2vec2")
    assert process is not None, "a server that is ready has one"
    process.suspend()


def stall(run: Run) -> None:
    """Wav2vec2 stands still for 6 s at a time, too short for a hang, as where a machine swaps."""
    while run.sleep(0):
        process = run.newest("wav2vec2")
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.suspend()
                run.sleep(6)
                process.resume()
        run.sleep(0.5)


def fill_shared_memory(run: Run) -> None:
    """Another program takes all of /dev/shm."""
    file = Path("/dev/shm/filled")
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as taken:
        while True:
            taken.write(bytes(2**16))
    run.over.wait()
    file.unlink()


CASES: Mapping[str, Case] = {
    "healthy": Case(
        about="Four callers, and a certificate that is valid for 90 days.",
        fires=(),
        callers=4,
        certificate_days=90,
    ),
    "down": Case(about="The server ends.", fires=("AsrTargetDown",), fault=stop_server, samples=24),
    "certificate": Case(
        about="The certificate is valid for five more days.",
        fires=("AsrCertificateExpires",),
        samples=12,
        certificate_days=5,
    ),
    "full-queue": Case(
        about="24 callers; each front takes five recordings, and four may wait.",
        fires=("AsrQueueNearlyFull",),
        flags=("--frontends=2", "--max-audio-s=20", "--max-queue-size=4"),
        callers=24,
        clip_s=20,
    ),
    "stalls": Case(
        about="wav2vec2 stands still for 6 s at a time.",
        fires=("AsrSlow",),
        fault=stall,
        callers=8,
    ),
    "heal-loop": Case(
        about="wav2vec2 is killed whenever it serves.",
        fires=("AsrHealLoop", "AsrNoProgress", "AsrNotReady"),
        fault=kill_again_and_again,
        callers=8,
        samples=90,
    ),
    "lost-calls": Case(
        about="All fronts are killed twice, with the calls that they work on.",
        fires=("AsrErrorBudgetBurnsFast", "AsrErrorBudgetBurnsSlowly"),
        fault=kill_fronts,
        callers=8,
        clip_s=60,
    ),
    "hang": Case(
        about="wav2vec2 stands still until it is killed.", fires=("AsrHang",), fault=hang, callers=2
    ),
    "shared-memory": Case(
        about="Another program fills /dev/shm.",
        fires=("AsrMemoryNearlyFull",),
        fault=fill_shared_memory,
        callers=4,
        own_shm=True,
    ),
}


@contextlib.contextmanager
def callers(url: str, case: Case, tls: TlsConfig | None = None) -> Iterator[None]:
    """The callers of a case, each with one recording after the other and without retries."""
    over = threading.Event()
    clips = [path.read_bytes() for path, _ in transcripts()]
    if case.clip_s:
        pcm, rate_hz = read_pcm(transcripts()[0][0])
        wanted = 2 * rate_hz * case.clip_s
        clips = [wav((pcm * (wanted // len(pcm) + 1))[:wanted], rate_hz)]

    def call_on(client: Client) -> None:
        number = 0
        while not over.is_set():
            try:
                client.transcribe(clips[number % len(clips)])
            except AsrError:
                over.wait(_AFTER_A_FAILURE_S)
            number += 1

    with Client(url, timeout_s=60, retry=RetryPolicy(max_attempts=1), tls=tls) as client:
        threads = [threading.Thread(target=call_on, args=(client,)) for _ in range(case.callers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def record(case: Case) -> tuple[list[Scrape], float]:
    """Run a case; returns its scrapes, and when they began, Unix time in seconds."""
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "wb") as log:
        flags, tls = certificate(Path(name), case.certificate_days)
        with local_server(*case.flags, *flags, log=log) as server:
            run = Run(server)
            fault = threading.Thread(target=case.fault, args=(run,))
            scrapes, began_s = [], time.time()
            pages = ((server.metrics_url, TRITON), (_health_url(server), SUPERVISOR))
            with callers(server.url, case, tls):
                for number in range(case.samples):
                    time.sleep(max(0.0, began_s + number - time.time()))
                    scrapes.append(
                        {key: value for page in pages for key, value in scrape(*page).items()}
                    )
                    if number == 10:
                        fault.start()
                run.over.set()
                if fault.ident is not None:
                    fault.join()
                for process in server.stubs("wav2vec2") if server.process.poll() is None else ():
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(signal.SIGCONT)
    return scrapes, began_s


def certificate(folder: Path, days: int) -> tuple[list[str], TlsConfig | None]:
    """The server's flags and the callers' settings for a certificate that is valid so long."""
    if not days:
        return [], None
    authority = trustme.CA()
    expires = datetime.now(timezone.utc) + timedelta(days=days)
    issued = authority.issue_cert("127.0.0.1", "localhost", not_after=expires)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    issued.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.key").chmod(0o600)
    flags = [f"--tls-cert={folder}/server.pem", f"--tls-key={folder}/server.key"]
    return flags, TlsConfig(root_certificates=str(folder / "ca.pem"))


def test_of(name: str, series: list[dict[str, str]]) -> dict[str, Any]:
    """The promtool test of a case, as data."""
    case = CASES[name]
    firing = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(case.fires)]
    return {
        "rule_files": [f"../rules/{path.name}" for path in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": f"{INTERVAL_S}s",
        "tests": [
            {
                "interval": f"{INTERVAL_S}s",
                "input_series": series,
                "promql_expr_test": [
                    {
                        "expr": FIRING,
                        "eval_time": f"{INTERVAL_S * (case.samples - 1)}s",
                        "exp_samples": firing,
                    }
                ],
            }
        ],
    }


def asked() -> set[Selector]:
    """What the rules ask the server for."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES.glob("*.yml")]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {selector for rule in rules for selector in selectors(rule["expr"])}


def _health_url(server: LocalServer) -> str:
    return f"http://127.0.0.1:{server.health_port}/metrics"


def _with_its_own_shm(name: str) -> None:
    """This program once more, for one case, with a small /dev/shm that no other process sees."""
    command = f'mount -t tmpfs -o size={_SHM_MIB}m tmpfs /dev/shm && exec "$0" "$@"'
    program = [sys.executable, "-m", "tools.record_series", name]
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, *program],
        env={**os.environ, _OWN_SHM: "1"},
        check=True,
    )


def main() -> int:
    """Record the cases; returns the exit status."""
    parser = make_parser("tools.record_series", __doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE", help="or all")
    for name in parser.parse_args().cases or CASES:
        case = CASES[name]
        if case.own_shm and _OWN_SHM not in os.environ:
            _with_its_own_shm(name)
            continue
        scrapes, began_s = record(case)
        shifted = {"asr_certificate_expiry_timestamp_seconds": began_s}
        test = test_of(name, input_series(scrapes, asked(), shifted))
        about = f"# {case.about} Written by `python -m tools.record_series {name}`.\n"
        text = yaml.safe_dump(test, sort_keys=False, width=10**6)
        TESTS.joinpath(f"{name}.yml").write_text(about + text, encoding="utf-8")
        print(f"{name}: {len(about + text)} bytes", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main, "stopped")
