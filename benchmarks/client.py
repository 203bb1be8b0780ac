"""The SDK when servers fail or hang, and the cost of a call; `make bench-client` runs it.

The exit status is 1 when a limit was exceeded: a call ended more than 100 ms after its deadline,
ended with an error of another kind, or was sent again after INVALID_ARGUMENT; more than two calls
of 200 failed where one of two servers hangs, or one of the later half; the median overhead is above
0.3 ms; an import takes 0.5 s or more.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from benchmarks import client_hung, client_imports, client_overhead, client_storm
from benchmarks.client_calls import CLIENTS
from tools.command import make_parser
from tools.markdown import head, row

MAX_LATE_S = 0.1
MAX_FAILED = 2
HUNG_TIMEOUT_S = 15.0
MAX_OVERHEAD_MS = 0.3
MAX_IMPORT_S = 0.5


def main() -> int:
    """Print what was measured."""
    parser = make_parser("benchmarks.client", __doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="through the storm")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=2000, help="of calls for the overhead")
    options = parser.parse_args()
    kept = [_storm(options), _hung(), _overhead(options.pairs), _imports()]
    return 0 if all(kept) else 1


def _storm(options: argparse.Namespace) -> bool:
    titles = ("client", "calls", "transcripts", "typed errors", "others", "sent more than once")
    print(head(*titles, "sent after INVALID_ARGUMENT", "latest after its deadline"))
    kept = True
    for name, asynchronous in CLIENTS.items():
        report = client_storm.run(
            options.calls // 2,
            concurrency=options.concurrency,
            seed=options.seed,
            asynchronous=asynchronous,
        )
        calls, kinds, untyped = len(report.calls), report.kinds, len(report.untyped)
        errors = calls - kinds["transcript"] - untyped
        cells = (calls, kinds["transcript"], errors, untyped, report.repeated)
        after = len(report.sent_after_refusal)
        print(row(f"`{name}`", *cells, after, f"{1e3 * report.latest_s:.0f} ms"), flush=True)
        print(f"{name}: {dict(kinds.most_common())}", file=sys.stderr)
        kept &= report.latest_s <= MAX_LATE_S and not untyped and not after
    return kept


def _hung() -> bool:
    print()
    print(head("client", "calls", "failed", "sent to the hung server", "median", "longest"))
    kept = True
    for name, asynchronous in CLIENTS.items():
        report = client_hung.run(timeout_s=HUNG_TIMEOUT_S, asynchronous=asynchronous)
        times_s, failed = report.durations_s, len(report.failed)
        median, longest = f"{1e3 * statistics.median(times_s):.0f} ms", f"{max(times_s):.1f} s"
        cells = (len(times_s), failed, report.sent_to_the_hung_one, median, longest)
        print(row(f"`{name}`", *cells), flush=True)
        kept &= failed <= MAX_FAILED
        kept &= all(turn < client_hung.CALLS // 2 for turn in report.failed)
    return kept


def _overhead(pairs: int) -> bool:
    print()
    titles = ("client", "payload", "tritonclient, median", "SDK, median")
    print(head(*titles, "overhead, median of pairs"))
    kept = True
    for name, asynchronous in CLIENTS.items():
        measure = client_overhead.tasks if asynchronous else client_overhead.threads
        for audio_s, calls in ((1.0, pairs), (60.0, pairs // 10)):
            times = measure(calls, audio_s=audio_s)
            medians = (f"{times.raw_median_ms:.2f} ms", f"{times.sdk_median_ms:.2f} ms")
            payload = f"{audio_s:.0f} s, {audio_s * 32:.0f} kB"
            print(row(f"`{name}`", payload, *medians, f"{times.overhead_ms:+.2f} ms"), flush=True)
            kept &= audio_s > 1 or times.overhead_ms <= MAX_OVERHEAD_MS
    return kept


def _imports() -> bool:
    ours_s, needed_s = client_imports.measure(9)
    print(f"\n`{client_imports.OURS}` takes {1e3 * ours_s:.0f} ms, ", end="")
    print(f"`{client_imports.NEEDED}` {1e3 * needed_s:.0f} ms.")
    return ours_s < MAX_IMPORT_S


if __name__ == "__main__":
    sys.exit(main())
