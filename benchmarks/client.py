"""How the SDK fares when servers fail or hang, and what a call costs; `make bench-client` runs it.

The exit status is 1 when a bar was missed: a call that ended more than 100 ms after its deadline,
with an error of another kind, or that was sent again after INVALID_ARGUMENT; more than two failed
calls of 200 where one of two servers hangs, or one among the later half; more than 0.3 ms of
overhead in the median; an import of 0.5 s or more.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from benchmarks import client_hung, client_imports, client_overhead, client_storm

MAX_LATE_S = 0.1
MAX_FAILED = 2
HUNG_TIMEOUT_S = 15.0
MAX_OVERHEAD_MS = 0.3
MAX_IMPORT_S = 0.5


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000, help="through the storm")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=2000, help="of calls for the overhead")
    options = parser.parse_args()
    well = _storm(options)
    well &= _hung()
    well &= _overhead(options.pairs)
    well &= _imports()
    return 0 if well else 1


def _storm(options: argparse.Namespace) -> bool:
    print("| client | calls | transcripts | typed errors | others | sent more than once "
          "| sent after INVALID_ARGUMENT | latest after its deadline |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    well = True
    for name, asynchronous in (("Client", False), ("AsyncClient", True)):
        report = client_storm.run(
            options.calls // 2,
            concurrency=options.concurrency,
            seed=options.seed,
            asynchronous=asynchronous,
        )
        kinds = report.kinds
        errors = len(report.calls) - kinds["transcript"] - len(report.untyped)
        print(
            f"| `{name}` | {len(report.calls)} | {kinds['transcript']} | {errors} "
            f"| {len(report.untyped)} | {report.repeated} | {len(report.sent_after_refusal)} "
            f"| {1e3 * report.latest_s:.0f} ms |",
            flush=True,
        )
        print(f"{name}: {dict(kinds.most_common())}", file=sys.stderr)
        well &= report.latest_s <= MAX_LATE_S
        well &= not report.untyped and not report.sent_after_refusal
    return well


def _hung() -> bool:
    print("\n| client | calls | failed | sent to the hung server | median | longest |")
    print("|---|---|---|---|---|---|")
    well = True
    for name, asynchronous in (("Client", False), ("AsyncClient", True)):
        report = client_hung.run(timeout_s=HUNG_TIMEOUT_S, asynchronous=asynchronous)
        median_ms = 1e3 * statistics.median(report.durations_s)
        print(
            f"| `{name}` | {len(report.durations_s)} | {len(report.failed)} "
            f"| {report.sent_to_the_hung_one} | {median_ms:.0f} ms "
            f"| {max(report.durations_s):.1f} s |",
            flush=True,
        )
        well &= len(report.failed) <= MAX_FAILED
        well &= all(turn < client_hung.CALLS // 2 for turn in report.failed)
    return well


def _overhead(pairs: int) -> bool:
    print("\n| client | payload | tritonclient, median | SDK, median | overhead, median of pairs |")
    print("|---|---|---|---|---|")
    well = True
    for name, measure in (
        ("Client", client_overhead.threads),
        ("AsyncClient", client_overhead.tasks),
    ):
        for audio_s, calls in ((1.0, pairs), (60.0, pairs // 10)):
            times = measure(calls, audio_s=audio_s)
            print(
                f"| `{name}` | {audio_s:.0f} s, {audio_s * 32:.0f} kB "
                f"| {times.raw_median_ms:.2f} ms | {times.sdk_median_ms:.2f} ms "
                f"| {times.overhead_ms:+.2f} ms |",
                flush=True,
            )
            well &= audio_s > 1 or times.overhead_ms <= MAX_OVERHEAD_MS
    return well


def _imports() -> bool:
    ours_s, needed_s = client_imports.measure(9)
    print(f"\n`{client_imports.OURS}` takes {1e3 * ours_s:.0f} ms, ", end="")
    print(f"`{client_imports.NEEDED}` {1e3 * needed_s:.0f} ms.")
    return ours_s < MAX_IMPORT_S


if __name__ == "__main__":
    sys.exit(main())
