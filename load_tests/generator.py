"""`python -m load_tests.generator`: how many calls a second the load generator itself makes.

It calls the SDK's fake server, which answers at once, with one second of PCM a call: open loops of
rising rates, then a closed one as fast as it goes. All of it shares this machine's cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.command import count, make_parser, seconds
from tools.processes import child, serve_fake

_ROOT = Path(__file__).resolve().parents[1]
_MARGIN_S = 120.0


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each rate; 1 when one was not achieved to 2 %."""
    parser = make_parser("load_tests.generator", __doc__)
    add = parser.add_argument
    add("--rates", default="250,500,1000", help="calls a second of the open loops")
    add("--callers", type=count, default=32, help="of the closed loop")
    add("--processes", type=count, default=2, help="that make the calls")
    add("--duration-s", type=seconds, default=15, help="of each run")
    options = parser.parse_args(arguments)
    loops = [("--arrivals", f"constant:{rate}") for rate in options.rates.split(",")]
    print("offered/s  achieved/s  failed  p50 ms  p99 ms  late p99 ms", flush=True)
    kept = True
    for loop in [*loops, ("--users", str(options.callers))]:
        try:
            seen, late_p99_s = _run(loop, options.processes, options.duration_s)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"generator: {error}", file=sys.stderr)
            return 1
        offered, achieved = seen["offered_rps"], seen["throughput_rps"]
        print(
            f"{'closed' if offered is None else format(offered, '.0f'):>9}  {achieved:10.0f}  "
            f"{sum(seen['failures'].values()):6}  {1000 * seen['latency_p50_s']:6.1f}  "
            f"{1000 * seen['latency_p99_s']:6.1f}  {1000 * late_p99_s:11.1f}",
            flush=True,
        )
        kept = kept and not seen["failures"] and (offered is None or achieved > 0.98 * offered)
    return 0 if kept else 1


def _run(loop: tuple[str, str], processes: int, duration_s: float) -> tuple[dict[str, Any], float]:
    """The figures of one run, and how late its calls were sent."""
    with child(serve_fake, 100) as server, tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run.json"
        command = [
            *(sys.executable, "-m", "load_tests", "--url", server.recv(), "--scenario", "seconds"),
            *("--processes", str(processes), "--duration-s", str(duration_s), *loop),
            *("--output", str(output), "--slo", "rps>0"),
        ]
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=duration_s + _MARGIN_S
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"a run ended with {done.returncode}")
        run = json.loads(output.read_text())
    return run["figures"], run["late_p99_s"]


if __name__ == "__main__":
    sys.exit(main())
