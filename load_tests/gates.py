"""The limits that decide whether a run has passed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a run did."""

    requests: int
    """Calls that ended, failed ones included."""

    failures: int
    """Calls that ended in an error."""

    p95_s: float
    """95th percentile of the time of all calls, seconds."""

    def __str__(self) -> str:
        return f"{self.requests} calls, {self.failures} failed, p95 {self.p95_s:.3f} s"


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a run must keep."""

    max_failures: float = 0.01
    """Largest share of failed calls, 0 to 1."""

    max_p95_s: float = 5.0
    """Largest 95th percentile of the time of a call, seconds."""

    def broken(self, measured: Measured) -> list[str]:
        """Say for each limit that is not kept what was measured; empty when all are.

        A run without a single call breaks its gates: it has shown nothing.
        """
        if measured.requests == 0:
            return ["requests: none was made"]
        share = measured.failures / measured.requests
        reasons = []
        if share > self.max_failures:
            reasons.append(
                f"failures: {measured.failures} of {measured.requests} calls ({share:.2%}), "
                f"the limit is {self.max_failures:.2%}"
            )
        if measured.p95_s > self.max_p95_s:
            reasons.append(f"p95: {measured.p95_s:.3f} s, the limit is {self.max_p95_s:.3f} s")
        return reasons
