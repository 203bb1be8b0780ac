"""`python -m load_tests`: a headless run of the steady scenario with a bounded time.

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

from load_tests.gates import Gates
from tools.local_server import local_server

_ROOT = Path(__file__).resolve().parents[1]
_START_AND_REPORT_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Run against `--url`, or against a server started for this run."""
    options = make_parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        try:
            url = options.url or stack.enter_context(local_server()).url
        except RuntimeError as error:
            print(f"load_tests: {error}", file=sys.stderr)
            return 1
        return _run_locust(url, options)


def _run_locust(url: str, options: argparse.Namespace) -> int:
    """Run Locust in a process of its own, which it patches for gevent."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(_ROOT / "load_tests" / "locustfile.py")),
        *("--headless", "--host", url),
        *("--users", str(options.users), "--spawn-rate", str(max(1, options.users))),
        *("--run-time", f"{options.duration_s}s", "--stop-timeout", str(options.timeout_s)),
        *("--timeout-s", str(options.timeout_s), "--seed", str(options.seed)),
        *("--max-failures", str(options.max_failures), "--max-p95-s", str(options.max_p95_s)),
        *(["--allow-remote"] if options.allow_remote else []),
    ]
    limit_s = options.duration_s + options.timeout_s + _START_AND_REPORT_S
    try:
        return subprocess.run(command, cwd=_ROOT, timeout=limit_s, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"load_tests: Locust did not end within {limit_s:.0f} s", file=sys.stderr)
        return 1


def make_parser() -> argparse.ArgumentParser:
    """The command line of `python -m load_tests`."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests",
        description="Steady load of mixed-length clips, judged by gates.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--url", help="HOST:PORT of a running server; without it one is started for the run")
    add("--allow-remote", action="store_true", help="let --url name another machine")
    add("--users", type=int, default=8, help="calls in flight")
    add("--duration-s", type=int, default=60, help="length of the run")
    add("--timeout-s", type=int, default=60, help="deadline of a call")
    add("--seed", type=int, default=0, help="of the clips")
    add("--max-failures", type=float, default=Gates.max_failures, help="share of failed calls")
    add("--max-p95-s", type=float, default=Gates.max_p95_s, help="95th percentile of their time")
    return parser


if __name__ == "__main__":
    # An exit, so that the server of this run is stopped; the default would leave it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
