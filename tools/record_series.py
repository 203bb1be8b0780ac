"""Makes each fault on a real server, and writes its series into the tests of the alerts.

    python -m tools.record_series [CASE …]

A case runs an asr-server with the demo checkpoint, scrapes its two pages once a second as
Prometheus does, makes the fault, and writes `monitoring/prometheus/tests/CASE.yml` for promtool:
the series that the rules ask for, and the alerts that must fire at some moment; no others may. A
second of the recording is replayed as 15 s, because alerts wait for minutes. So a rate is a
fifteenth of the real one there; ratios, quantiles and increases are the same. Times of expiry are
written relative to the recording's start, because promtool's clock begins at 0.

The cases slow-burn, memory and shared-memory need root, for a disk, a limit on memory and a
/dev/shm of their own.
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
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import psutil
import trustme
import yaml

from asr_client import AsrError, Client, RetryPolicy, TlsConfig
from tests.support.live import call, connect
from tools.command import make_parser, run_main
from tools.local_gateway import LocalGateway, local_gateway, upload
from tools.local_server import LocalServer, local_server
from tools.promql import Selector, selectors
from tools.promtool_series import Scrape, input_series, scrape
from tools.recorded_cases import CASES, Case
from tools.recorded_faults import KEY, Run, gateway_flags
from tools.recordings import read_pcm, transcripts, wav

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "monitoring" / "prometheus" / "rules"
TESTS = ROOT / "monitoring" / "prometheus" / "tests"
INTERVAL_S = 15
"""A second of a recording is replayed as so many."""
TRITON = {"instance": "asr-server:8002", "job": "triton"}
SUPERVISOR = {"instance": "asr-server:8003", "job": "supervisor"}
GATEWAY = {"instance": "gateway:8080", "job": "gateway"}
FIRING = 'group by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1d]))'
_ISOLATED = "RECORD_SERIES_IS_ISOLATED"
_ISOLATION = {
    "shm": "mount -t tmpfs -o size=256m tmpfs /dev/shm",
    # The flags of the case put asr-server's own folder there.
    "disk": "mount -t tmpfs -o size=4m,mode=0700 tmpfs /mnt",
    # A control group of version 1 under the own one, or of version 2.
    "memory": """
        if [ -d /sys/fs/cgroup/memory ]; then
            group=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/recorded
            limit=memory.limit_in_bytes
        else
            group=/sys/fs/cgroup/recorded limit=memory.max
        fi
        trap 'echo $$ > ${group%/*}/cgroup.procs && rmdir $group' EXIT
        mkdir -p $group && echo 3G > $group/$limit && echo $$ > $group/cgroup.procs""",
}
"""By kind, the shell command that comes before a recording in a mount namespace of its own."""
_AFTER_A_FAILURE_S = 0.2
_BETWEEN_UPLOADS_S = 0.2


@contextlib.contextmanager
def callers(url: str, case: Case, tls: TlsConfig | None = None) -> Iterator[None]:
    """The callers of a case, each with one recording after the other and without retries."""
    over = threading.Event()
    clips = [path.read_bytes() for path, _ in transcripts()]
    if case.clip_s:
        pcm, rate_hz = read_pcm(transcripts()[0][0])
        wanted = 2 * rate_hz * case.clip_s
        clips = [wav((pcm * (wanted // len(pcm) + 1))[:wanted], rate_hz)]
    if case.clips is not None:
        clips = case.clips(clips)

    def call_on(client: Client) -> None:
        number = 0
        while not over.is_set():
            try:
                client.transcribe(clips[number % len(clips)])
            except AsrError:
                over.wait(_AFTER_A_FAILURE_S)
            number += 1

    def look_on() -> None:
        pcm, rate_hz = read_pcm(transcripts()[0][0])
        options = {"encoding": "pcm_s16le", "sample_rate": rate_hz, "channels": 1, "end": True}
        with connect(url) as channel:
            while not over.wait(case.look_pause_s):
                try:
                    call(channel, pcm, options)
                except grpc.RpcError:
                    over.wait(_AFTER_A_FAILURE_S)

    with Client(url, timeout_s=60, retry=RetryPolicy(max_attempts=1), tls=tls) as client:
        threads = [threading.Thread(target=call_on, args=(client,)) for _ in range(case.callers)]
        threads += [threading.Thread(target=look_on) for _ in range(case.lookers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def uploads(server: LocalServer, case: Case, *more: str) -> Iterator[LocalGateway]:
    """A gateway with more flags, and two callers of it."""
    over = threading.Event()
    clip = transcripts()[0][0].read_bytes()

    def upload_on(address: str) -> None:
        while not over.wait(_BETWEEN_UPLOADS_S):
            upload(address, clip, key=KEY)

    with tempfile.TemporaryDirectory() as name:
        flags = ["--timeout-s=5", *gateway_flags(Path(name), small_disk=case.small_disk), *more]
        with local_gateway(server.url, Path(name), *flags) as gateway:
            threads = [threading.Thread(target=upload_on, args=(gateway.address,)) for _ in "ab"]
            for thread in threads:
                thread.start()
            try:
                yield gateway
            finally:
                over.set()
                for thread in threads:
                    thread.join()


def record(case: Case) -> tuple[list[Scrape], float]:
    """Run a case; returns its scrapes, and when they began, Unix time in seconds."""
    with tempfile.TemporaryDirectory() as name, open(os.devnull, "wb") as log:
        flags, tls = certificate(Path(name), case.certificate_days)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(local_server(*case.flags, *flags, log=log))
            pages = [(server.metrics_url, TRITON), (_health_url(server), SUPERVISOR)]
            gateway = stack.enter_context(uploads(server, case)) if case.gateway else None
            if gateway is not None:
                pages.append((f"http://{gateway.address}/metrics", GATEWAY))
            run = Run(server, gateway)
            fault = threading.Thread(target=case.fault, args=(run,))
            scrapes, began_s = [], time.time()
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


def write(name: str, series: list[dict[str, str]]) -> None:
    """Write the test of a case."""
    about = f"# {CASES[name].about} Written by `python -m tools.record_series {name}`.\n"
    text = yaml.safe_dump(test_of(name, series), sort_keys=False, width=10**6)
    TESTS.joinpath(f"{name}.yml").write_text(about + text, encoding="utf-8")
    print(f"{name}: {len(about + text)} bytes", flush=True)


def asked() -> set[Selector]:
    """What the rules ask the server for."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES.glob("*.yml")]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {selector for rule in rules for selector in selectors(rule["expr"])}


def _health_url(server: LocalServer) -> str:
    return f"http://127.0.0.1:{server.health_port}/metrics"


def _isolated(name: str, kind: str) -> None:
    """This program once more, for one case, with mounts and limits that no other process sees."""
    command = f'{_ISOLATION[kind]} && "$0" "$@"'
    program = [sys.executable, "-m", "tools.record_series", name]
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, *program],
        env={**os.environ, _ISOLATED: "1"},
        check=True,
    )


def main() -> int:
    """Record the cases; returns the exit status."""
    parser = make_parser("tools.record_series", __doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE", help="or all")
    parser.add_argument(
        "--rewrite", action="store_true", help="keep the recordings, write all around them anew"
    )
    arguments = parser.parse_args()
    for name in arguments.cases or CASES:
        case = CASES[name]
        if arguments.rewrite:
            kept = yaml.safe_load(TESTS.joinpath(f"{name}.yml").read_text(encoding="utf-8"))
            write(name, kept["tests"][0]["input_series"])
            continue
        if case.isolated and _ISOLATED not in os.environ:
            _isolated(name, case.isolated)
            continue
        scrapes, began_s = record(case)
        shifted = {"asr_certificate_expiry_timestamp_seconds": began_s}
        write(name, input_series(scrapes, asked(), shifted))
    return 0


if __name__ == "__main__":
    run_main(main, "stopped")
