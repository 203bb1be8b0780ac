"""Points of a sweep: a point is one setting under one number of callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from load_tests.report.report_numbers import figures
from load_tests.report.tally import Tally
from load_tests.run.closed_loop import Stretch
from load_tests.run.corpus import Clip
from load_tests.sweep.costs import Costs
from load_tests.sweep.settings import ServerSetting


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of a point; times in seconds, shares from 0 to 1."""

    seconds: float
    """How long the callers were watched, without warm-ups."""

    stable: bool
    """Whether the throughput had settled when the measurement ended."""

    calls: int
    """Calls that ended, failed ones included."""

    failures: int
    """Calls that ended in an error."""

    calls_per_s: float
    """Calls answered in a second."""

    rtfx: float
    """Seconds of audio transcribed in a second."""

    mean_s: float
    """Mean time of a call, failed ones included; the percentiles below are of the same."""

    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float

    wer: float | None
    """Word error rate of the answers; None where no words are known."""

    queue_s: float
    """Mean time of a window in the queue of `wav2vec2`."""

    compute_s: float
    """Mean time of a window's batch in `wav2vec2`."""

    mean_batch: float
    """Mean windows of one batch of `wav2vec2`."""

    padding_share: float
    """Share of the seconds computed that were padding."""

    forwards: Mapping[str, int]
    """Forwards by the windows in them; a key is the bucket's upper bound, the last `inf`."""

    memory_bytes: int
    """Maximum memory of all the server's processes, shared pages counted once."""

    costs: Costs
    """What the server spent, warm-ups included."""

    capped: bool = False
    """Whether the sweep's time limit ended it before it had settled or had all its slices."""

    @property
    def failure_share(self) -> float:
        """Failed calls among all."""
        return self.failures / self.calls if self.calls else 1.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting under one number of callers."""

    setting: ServerSetting
    concurrency: int
    """Calls in flight."""

    measured: Measured | None = None
    """The figures; None where there are none."""

    error: str = ""
    """Why there are none."""

    @property
    def key(self) -> tuple[ServerSetting, int]:
        """What tells it from every other point."""
        return self.setting, self.concurrency


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A short stretch of load and what it cost."""

    stretch: Stretch
    costs: Costs

    @property
    def rtfx(self) -> float:
        """Seconds of audio transcribed in a second."""
        return self.stretch.tally.audio_s / self.stretch.duration_s


def pool(
    slices: Sequence[Slice], corpus: Sequence[Clip], *, stable: bool, capped: bool = False
) -> Measured:
    """One point's figures from its slices, all calls together.

    The server's means are weighted with the windows of each slice.

    Args:
        slices: one or more, each with the server's side.
        corpus: what was sent.
        stable: whether their throughput had settled.
        capped: whether there was no time for another one.
    """
    tally = Tally()
    for each in slices:
        tally.add(each.stretch.tally)
    seconds = sum(each.stretch.duration_s for each in slices)
    client = figures(tally, corpus, duration_s=seconds)
    servers = [each.stretch.server for each in slices if each.stretch.server is not None]
    models = [server.wav2vec2 for server in servers]
    windows = [model.requests for model in models]
    batches = [model.executions for model in models]
    padded = [server.audio_s / (1 - server.padding_waste) for server in servers]
    bounds = sorted({bound for server in servers for bound in server.forward_windows})
    costs = slices[0].costs
    for each in slices[1:]:
        costs = costs + each.costs
    return Measured(
        seconds=seconds,
        stable=stable,
        calls=client.requests,
        failures=client.failed,
        calls_per_s=client.throughput_rps,
        rtfx=client.rtfx,
        mean_s=client.latency_mean_s,
        p50_s=client.latency_p50_s,
        p90_s=client.latency_p90_s,
        p95_s=client.latency_p95_s,
        p99_s=client.latency_p99_s,
        wer=client.word_error_rate,
        queue_s=_mean([model.queue_s for model in models], windows),
        compute_s=_mean([model.compute_s for model in models], windows),
        mean_batch=_mean([model.mean_batch for model in models], batches),
        padding_share=_mean([server.padding_waste for server in servers], padded),
        forwards={
            f"{bound:g}": sum(server.forward_windows.get(bound, 0) for server in servers)
            for bound in bounds
        },
        memory_bytes=max(server.memory_bytes or 0 for server in servers),
        costs=costs,
        capped=capped,
    )


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The weighted mean; 0 where nothing has weight."""
    weight = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / weight if weight else 0.0
