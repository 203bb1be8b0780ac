"""`python -m load_tests`: a headless run of a scenario with a bounded time.

The exit status is 0 when the gates were kept, 1 when one was broken or the run did not come
about, 2 for a wrong flag.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from load_tests.flags import count, count_or_none, seconds, seconds_or_none, writable
from load_tests.report.slo import DEFAULT_SLO, parse_slo
from load_tests.run.arrivals import FORMS, Arrivals
from load_tests.run.scenarios import SCENARIOS
from tools.local_server import LocalServer, free_ports, local_server

_ROOT = Path(__file__).resolve().parents[1]
_START_AND_REPORT_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Run against `--url`, or against a server started for this run."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        parse_slo(options.slo)
        if options.arrivals:
            Arrivals.parse(options.arrivals)
        if options.output:
            writable(options.output)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    with contextlib.ExitStack() as stack:
        try:
            server = None if options.url else stack.enter_context(local_server())
        except RuntimeError as error:
            print(f"load_tests: {error}", file=sys.stderr)
            return 1
        return _run_locust(options, server)


def _run_locust(options: argparse.Namespace, server: LocalServer | None) -> int:
    """Run Locust in a process of its own, which it patches for gevent."""
    scenario = SCENARIOS[options.scenario]
    duration_s = options.duration_s or scenario.duration_s
    users = scenario.users if options.users is None else options.users
    command = [
        *(sys.executable, "-m", "locust", "-f", str(_ROOT / "load_tests" / "locustfile.py")),
        *("--headless", "--only-summary", "--loglevel", "WARNING", "--users", str(users)),
        *("--duration-s", str(duration_s), "--scenario", options.scenario),
        *("--host", options.url if server is None else server.url),
        *("--timeout-s", str(options.timeout_s), "--seed", str(options.seed)),
        *("--slo", options.slo, "--arrivals", options.arrivals, "--output", options.output),
        *(["--allow-remote"] if options.allow_remote else []),
        *(_several(options.processes) if options.processes > 1 else []),
    ]
    metrics_url, pid = options.metrics_url, options.server_pid
    if server is not None:
        metrics_url, pid = server.metrics_url, server.process.pid
    command += ["--metrics-url", metrics_url, "--server-pid", str(pid)]
    # Each clip is sent once before the run; calls in flight at its end may finish.
    limit_s = duration_s + 2 * options.timeout_s + _START_AND_REPORT_S
    with subprocess.Popen(command, cwd=_ROOT) as locust:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                return locust.wait(limit_s)
            # Locust got the same Ctrl-C, and sums up what was until then; another one ends it.
            return locust.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"load_tests: Locust did not end within {limit_s:.0f} s", file=sys.stderr)
            return 1
        finally:
            locust.kill()


def _several(processes: int) -> list[str]:
    """A master and workers that meet on this machine, out of the way of other runs."""
    (port,) = free_ports(1)
    meet = ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    return ["--processes", str(processes), *meet, "--master-port", str(port)]


def make_parser() -> argparse.ArgumentParser:
    """The command line of `python -m load_tests`."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests",
        description="A run of one scenario, judged by gates.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog=" ".join(f"{name}: {scenario.about}." for name, scenario in SCENARIOS.items()),
    )
    add = parser.add_argument
    add("--url", help="HOST:PORT of a running server; without it one is started for the run")
    add("--metrics-url", default="", help="that server's metrics page")
    add("--server-pid", type=int, default=0, help="process id of its asr-server, on this machine")
    add("--allow-remote", action="store_true", help="let --url name another machine")
    add("--scenario", choices=list(SCENARIOS), default="steady", help="who calls, and when")
    add(
        "--users",
        type=count_or_none,
        help="callers at full load; the scenario's own if not said",
    )
    add("--arrivals", default="", help=f"an open loop: {FORMS}")
    add(
        "--duration-s",
        type=seconds_or_none,
        default=0,
        help="length of the run; 0: the scenario's own",
    )
    add("--timeout-s", type=seconds, default=60, help="deadline of a call")
    add("--seed", type=int, default=0, help="of the clips and the schedule")
    add("--processes", type=count, default=1, help="how many make the calls")
    add("--slo", default=DEFAULT_SLO, help="gates")
    add("--output", default="", help="where to write the figures as JSON")
    return parser


if __name__ == "__main__":
    # An exit, so that the server of this run is stopped; the default would leave it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
