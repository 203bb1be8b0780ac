"""Live points of a sweep: one setting under a number of live streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from load_tests.report.report_numbers import LiveFigures, figures
from load_tests.run.corpus import Clip
from load_tests.sweep.costs import Costs
from load_tests.sweep.points import Slice
from load_tests.sweep.recommendation import Target
from load_tests.sweep.settings import ServerSetting


@dataclass(frozen=True, kw_only=True)
class LiveMeasured:
    """Figures of a live point; times in seconds, shares from 0 to 1."""

    seconds: float
    """How long the streams were watched."""

    played_s: float
    """Mean length of a stream's audio."""

    words: LiveFigures

    failures: int
    """Streams that ended in an error."""

    end_p95_s: float
    """From the end of a stream's audio to its last final."""

    wer: float | None
    """Word error rate of the finals."""

    memory_bytes: int
    """Maximum memory of all the server's processes, shared pages counted once."""

    costs: Costs
    """What the server spent."""

    @property
    def server_cores(self) -> float:
        """Cores that the server's processes kept busy."""
        kinds = ("wav2vec2", "transcribe", "triton")
        return sum(self.costs.cpu_s.get(kind, 0.0) for kind in kinds) / self.costs.seconds

    def keeps(self, target: Target) -> bool:
        """Whether interims come in time, and no stream failed."""
        return not self.failures and self.words.interim_p95_s <= target.interim_p95_s


@dataclass(frozen=True, kw_only=True)
class LivePoint:
    """One setting under a number of live streams."""

    setting: ServerSetting
    streams: int

    measured: LiveMeasured | None = None
    """The figures; None where there are none."""

    error: str = ""
    """Why there are none."""

    @property
    def key(self) -> tuple[ServerSetting, int]:
        """What tells it from every other live point."""
        return self.setting, self.streams


def measured(taken: Slice, corpus: Sequence[Clip]) -> LiveMeasured:
    """The figures of streams that played to their ends.

    Raises:
        ValueError: not one stream ended.
    """
    stretch = taken.stretch
    seen = figures(stretch.tally, corpus, duration_s=stretch.duration_s)
    if seen.live is None:
        raise ValueError("no live stream ended")
    memory = stretch.server.memory_bytes if stretch.server else None
    return LiveMeasured(
        seconds=stretch.duration_s,
        played_s=sum(clip.duration_s for clip in corpus) / len(corpus),
        words=seen.live,
        failures=seen.failed,
        end_p95_s=seen.latency_p95_s,
        wer=seen.word_error_rate,
        memory_bytes=memory or 0,
        costs=taken.costs,
    )


def held(points: Sequence[LivePoint], target: Target) -> dict[ServerSetting, LivePoint]:
    """For each setting the most streams that keep the target, as all fewer that were measured do.

    A setting that does not keep it with the fewest is left out.
    """
    found: dict[ServerSetting, LivePoint] = {}
    full: set[ServerSetting] = set()
    for point in sorted(points, key=lambda point: point.streams):
        if point.setting in full:
            continue
        if point.measured is not None and point.measured.keeps(target):
            found[point.setting] = point
        else:
            full.add(point.setting)
    return found


def sentence(points: Sequence[LivePoint], target: Target) -> str:
    """The number of live streams that the machine holds, in plain words; empty without points."""
    counts = [point.streams for point in points if point.measured is not None]
    if not counts:
        return ""
    limit = f"p95 of an interim at most {target.interim_p95_s:g} s, none failed"
    kept = held(points, target)
    if not kept:
        return f"No number of live streams keeps the target ({limit})."
    best = max(kept.values(), key=lambda point: point.streams)
    assert best.measured is not None
    more = " It was the most that was tried." if best.streams == max(counts) else ""
    return (
        f"It holds {best.streams} live streams ({limit}) with {best.setting}: "
        f"p95 {best.measured.words.interim_p95_s:.2f} s for an interim, "
        f"{best.measured.words.final_p95_s:.2f} s from the last word to a final.{more}"
    )
