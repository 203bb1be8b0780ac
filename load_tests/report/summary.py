"""The text of a run: the callers' side and the server's side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from load_tests.report.metrics_page import bucket_names
from load_tests.report.report_numbers import Figures, figures
from load_tests.report.server_side import ModelFigures, ServerFigures
from load_tests.report.tally import Tally
from load_tests.run.worker import Run

Cells = tuple[str, ...]
"""A line of a table."""

COLUMNS: Cells = (
    "",
    "calls",
    "failed",
    "calls/s",
    "RTFx",
    "p50",
    "p95",
    "p99",
    "WER",
    "alone",
    "changed",
)
LIVE_COLUMNS: Cells = (
    "live",
    "streams",
    "interims",
    "interim p50",
    "p95",
    "final p50",
    "p95",
    "flicker",
    "skipped",
)
_SERVER: Cells = ("", "requests", "batches", "mean", "queue", "compute")


@dataclass(frozen=True)
class Summary:
    """The tables of one run.

    Args:
        run: with all its counts.
        seen: the whole run's figures.
        alone: each clip's transcript when it was the only call.
        knee: the stage after which more callers gave no more throughput.
    """

    run: Run
    seen: Figures
    alone: Mapping[str, str]
    knee: int | None

    def text(self) -> str:
        """The whole summary, in lines of up to 100 characters."""
        lines = [self._title(), "", *_table([COLUMNS, *self.cells()]), ""]
        if live := self.live_cells():
            lines += [*_table([LIVE_COLUMNS, *live]), ""]
        failures = ", ".join(f"{count} {code}" for code, count in self.seen.failures.items())
        lines += [f"failed: {failures or 'none'}"]
        if refused := self.run.total().refused:
            lines.append(f"bad inputs refused as the contract says: {refused}")
        if self.seen.offered_rps is not None:
            late_s = Tally(latencies_s=self.run.late_s)
            lines.append(
                f"offered {self.seen.offered_rps:.1f} calls/s, "
                f"achieved {self.seen.throughput_rps:.1f}; sent late: "
                f"p50 {_time(late_s.percentile_s(0.5))}, p99 {_time(late_s.percentile_s(0.99))}"
            )
        if self.knee is not None:
            lines.append(f"knee: {self.run.plan.callers(self.knee)} callers")
        lines.append("")
        if self.seen.server is None:
            lines.append("server: not measured")
        else:
            lines += _server_side(self.seen.server, self.seen.duration_s)
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """The tables for a program."""
        return {
            "scenario": self.run.plan.name,
            "seed": self.run.plan.seed,
            "corpus": self.run.digest,
            "refused": self.run.total().refused,
            "late_p99_s": Tally(latencies_s=self.run.late_s).percentile_s(0.99),
            "knee_callers": None if self.knee is None else self.run.plan.callers(self.knee),
            "rows": [{"what": what} | dataclasses.asdict(seen) for what, seen in self.rows()],
        }

    def _title(self) -> str:
        plan = self.run.plan
        if plan.arrivals is None:
            what = f"closed loop, {plan.users} callers"
        else:
            rate = f" {plan.arrivals.rate_rps:g}/s" if plan.arrivals.rate_rps else ""
            what = f"open loop, {plan.arrivals.kind}{rate}"
        return f"{plan.name}: {what}, {self.seen.duration_s:.1f} s, seed {plan.seed}"

    def rows(self) -> list[tuple[str, Figures]]:
        """The figures of each kind of clip, of each part, and of all."""
        run, plan, rows = self.run, self.run.plan, []
        kinds = sorted({kind for _, kind in run.tallies})
        if len(kinds) > 1:
            for kind in kinds:
                rows.append((kind, self._part(run.total(kind=kind), self.seen.duration_s)))
        stages, end_s = plan.scenario.stages, 0.0
        for index, stage in enumerate(stages if len(stages) > 1 else ()):
            begin_s, end_s = end_s, end_s + stage.time * plan.duration_s
            tally = run.total(stage=index)
            if tally.requests:
                load = f"{plan.callers(index)} callers"
                if plan.arrivals is not None:
                    load = f"{stage.load:.0%} of the rate"
                # The run may have ended within a part.
                part_s = max(1e-3, min(end_s, self.seen.duration_s) - begin_s)
                rows.append((f"part {index + 1}, {load}", self._part(tally, part_s)))
        return [*rows, ("all", self.seen)]

    def cells(self) -> list[Cells]:
        """`rows` as they are printed, under COLUMNS."""
        return [_row(*row) for row in self.rows()]

    def live_cells(self) -> list[Cells]:
        """The rows with live streams, under LIVE_COLUMNS."""
        rows = [_live_row(what, seen) for what, seen in self.rows() if seen.live is not None]
        # One kind of streams is all of them.
        return rows[:1] if len(rows) == 2 else rows

    def _part(self, tally: Tally, duration_s: float) -> Figures:
        return figures(tally, self.run.corpus, duration_s=duration_s, alone=self.alone)


def _row(name: str, seen: Figures) -> Cells:
    return (
        name,
        str(seen.requests),
        str(seen.failed),
        f"{seen.throughput_rps:.2f}",
        f"{seen.rtfx:.1f}",
        _time(seen.latency_p50_s),
        _time(seen.latency_p95_s),
        _time(seen.latency_p99_s),
        _share(seen.word_error_rate),
        _share(seen.word_error_rate_alone),
        "-" if seen.transcripts_changed is None else str(seen.transcripts_changed),
    )


def _live_row(name: str, seen: Figures) -> Cells:
    live = seen.live
    assert live is not None
    return (
        name,
        str(live.streams),
        str(live.interims),
        _time(live.interim_p50_s),
        _time(live.interim_p95_s),
        _time(live.final_p50_s),
        _time(live.final_p95_s),
        _share(live.flicker),
        str(live.skipped),
    )


def _server_side(server: ServerFigures, duration_s: float) -> list[str]:
    table = _table(
        [_SERVER, _model("transcribe", server.transcribe), _model("wav2vec2", server.wav2vec2)]
    )
    names = bucket_names(server.forward_windows)
    sizes = [
        f"{count} of {names[bound]}" for bound, count in server.forward_windows.items() if count
    ]
    batched = server.wav2vec2.executions < server.wav2vec2.requests
    errors = ", ".join(f"{count} {code}" for code, count in server.errors.items())
    return [
        *table,
        "",
        f"batching: {'yes' if batched else 'no'}, {server.wav2vec2.requests} windows in "
        f"{server.wav2vec2.executions} batches and {server.forwards} forwards, "
        f"{server.mean_forward_windows:.2f} windows each",
        f"forwards by windows: {', '.join(sizes) or 'none'}",
        f"padding {_share(server.padding_waste)}; cancelled {server.cancelled}; "
        f"errors: {errors or 'none'}",
        f"maximum: {server.max_queue} files in the queue, "
        f"{server.max_windows_in_flight} windows in flight",
        _resources(server, duration_s),
    ]


def _resources(server: ServerFigures, duration_s: float) -> str:
    parts = []
    if server.cpu_s is not None:
        parts.append(f"CPU {server.cpu_s / duration_s:.2f} cores")
    if server.memory_bytes is not None:
        parts.append(f"peak memory {server.memory_bytes / 1e9:.2f} GB")
    if server.memory_growth_bytes is not None:
        parts.append(f"{server.memory_growth_bytes / 1e9:+.2f} GB from start to end")
    if server.gpu_utilization is not None:
        parts.append(f"GPU {server.gpu_utilization:.0%} busy")
    if server.gpu_memory_bytes is not None:
        parts.append(f"its peak memory {server.gpu_memory_bytes / 1e9:.2f} GB")
    return ", ".join(parts) or "CPU and memory: not on this machine"


def _model(name: str, model: ModelFigures) -> Cells:
    return (
        name,
        str(model.requests),
        str(model.executions),
        f"{model.mean_batch:.2f}",
        _time(model.queue_s),
        _time(model.compute_s),
    )


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
