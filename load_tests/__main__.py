"""`python -m load_tests`: a headless run of a scenario with a bounded time.

The exit status is 0 when the gates were kept, 1 when one was broken or the run did
not start, 2 for a wrong flag.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path

from load_tests.report.slo import parse_slo
from load_tests.run.arrivals import Arrivals
from load_tests.run.options import RUN, add_options
from load_tests.run.scenarios import SCENARIOS
from tools.command import count, count_or_zero, make_parser, run_main, writable
from tools.local_server import LocalServer, free_ports, local_server

_ROOT = Path(__file__).resolve().parents[1]
_START_AND_REPORT_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Run against `--url`, or against a server started for this run."""
    parser = command_line()
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
        *(f"--duration-s={duration_s}", f"--host={options.url if server is None else server.url}"),
        *(f"--{name.replace('_', '-')}={getattr(options, name)}" for name in RUN),
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
            # Locust got the same Ctrl-C and sums up the run until then; a second one ends it.
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


def command_line() -> argparse.ArgumentParser:
    """The command line of `python -m load_tests`."""
    scenarios = " ".join(f"{name}: {scenario.about}." for name, scenario in SCENARIOS.items())
    parser = make_parser("load_tests", "A run of one scenario, judged by gates.", scenarios)
    add = parser.add_argument
    add("--url", help="HOST:PORT of a running server; without it one is started for the run")
    add("--users", type=count_or_zero, help="callers at full load; default: the scenario's own")
    add("--processes", type=count, default=1, help="processes that make the calls")
    add_options(add)
    return parser


if __name__ == "__main__":
    run_main(main, "load_tests: stopped")
