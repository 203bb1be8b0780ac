"""A stretch of load in numbers: those of its callers and those of the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from load_tests.report.live_tally import flicker
from load_tests.report.server_side import ServerFigures
from load_tests.report.tally import Tally, Texts, changed, percentile, word_error_rate
from load_tests.run.corpus import Clip


@dataclass(frozen=True, kw_only=True)
class LiveFigures:
    """The numbers of live streams. Times are seconds, shares 0 to 1."""

    streams: int
    """Streams that ended, failed ones included."""

    interims: int
    interim_p50_s: float
    """From when the look of an interim was due until it was shown."""

    interim_p95_s: float
    final_p50_s: float
    """From the last word of a segment to its final; contains the pause that ends it."""

    final_p95_s: float
    flicker: float
    """Words of interims that the next display did not keep, over all words of interims."""

    skipped: int
    """Segments that were dropped."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The numbers of a stretch of load. Times are seconds, rates are per second of the stretch."""

    concurrency: int | None
    """Calls in flight; None for an open loop."""

    offered_rps: float | None
    """Calls that the schedule asked for, per second; None for a closed loop."""

    duration_s: float
    """Length of the stretch, without its warm-up."""

    requests: int
    """Calls that ended in the stretch, failed ones included."""

    failures: Mapping[str, int]
    """Failed calls by the contract's code, or the class of the SDK's error."""

    throughput_rps: float
    """Calls that ended as they should."""

    rtfx: float
    """Seconds of audio answered."""

    latency_mean_s: float
    """Of all calls, failed ones included; counted from the intended start in an open loop, of a
    live stream from the end of its audio."""

    latency_p50_s: float
    latency_p90_s: float
    latency_p95_s: float
    latency_p99_s: float

    word_error_rate: float | None
    """Against the words said; None when no words are known."""

    word_error_rate_alone: float | None
    """The same of the same clips, each the only call; None when that was not asked for."""

    transcripts_changed: int | None
    """Transcripts that differ from the one that the clip gets alone."""

    server: ServerFigures | None
    """The server's side of it; None without its metrics page."""

    live: LiveFigures | None = None
    """The words of live streams; None without streams."""

    @property
    def rejected(self) -> int:
        """Calls that the server's full queue refused; no metric of Triton's 24.10 counts them."""
        return self.failures.get("ServerBusy", 0)

    @property
    def failed(self) -> int:
        """Failed calls."""
        return sum(self.failures.values())


def figures(
    tally: Tally,
    corpus: Sequence[Clip],
    *,
    duration_s: float,
    in_time: Tally | None = None,
    concurrency: int | None = None,
    offered_rps: float | None = None,
    alone: Mapping[str, str] | None = None,
    server: ServerFigures | None = None,
) -> Figures:
    """Put both sides of a stretch of load together.

    Args:
        tally: all its calls.
        corpus: the clips that they sent.
        duration_s: the stretch's length, seconds.
        in_time: the calls that ended in the stretch, where `tally` has some that ended after it.
        concurrency: calls in flight in a closed loop.
        offered_rps: calls per second of an open loop's schedule.
        alone: each clip's transcript when it is the only call.
        server: the server's side.
    """
    ended = in_time or tally
    by_itself = None
    if alone is not None:
        # The same clips as often as they were sent, so that the two rates can be compared.
        texts = Texts()
        for (name, _), count in tally.texts.items():
            texts[name, alone[name]] += count
        by_itself = word_error_rate(texts, corpus)
    return Figures(
        concurrency=concurrency,
        offered_rps=offered_rps,
        duration_s=duration_s,
        requests=tally.requests,
        failures=dict(tally.failures),
        throughput_rps=(ended.requests - ended.failed) / duration_s,
        rtfx=ended.audio_s / duration_s,
        latency_mean_s=tally.mean_s(),
        latency_p50_s=tally.percentile_s(0.5),
        latency_p90_s=tally.percentile_s(0.9),
        latency_p95_s=tally.percentile_s(0.95),
        latency_p99_s=tally.percentile_s(0.99),
        word_error_rate=word_error_rate(tally.texts, corpus),
        word_error_rate_alone=by_itself,
        transcripts_changed=None if alone is None else changed(tally.texts, alone),
        server=server,
        live=_live(tally),
    )


def _live(tally: Tally) -> LiveFigures | None:
    live = tally.live
    if not live.streams:
        return None
    return LiveFigures(
        streams=live.streams,
        interims=len(live.interim_s),
        interim_p50_s=percentile(live.interim_s, 0.5),
        interim_p95_s=percentile(live.interim_s, 0.95),
        final_p50_s=percentile(live.final_s, 0.5),
        final_p95_s=percentile(live.final_s, 0.95),
        flicker=flicker(live),
        skipped=live.skipped,
    )
