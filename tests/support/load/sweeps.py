"""Points for tests of the sweep."""

from __future__ import annotations

from typing import Any

from load_tests.report.report_numbers import LiveFigures
from load_tests.sweep.costs import KINDS, Costs
from load_tests.sweep.live_points import LiveMeasured, LivePoint
from load_tests.sweep.points import Measured, Point
from load_tests.sweep.settings import ServerSetting


def setting(instances: int = 1, **values: Any) -> ServerSetting:
    others = {
        "max_batch_size": 32,
        "max_queue_delay_us": 2000,
        "threads": 0,
        "precision": "auto",
        "device": "cpu",
    }
    return ServerSetting(instances=instances, **(others | values))


def costs(**values: Any) -> Costs:
    counts = {
        "seconds": 20.0,
        "calls": 300.0,
        "windows": 300.0,
        "forwards": 150.0,
        "forward_s": 16.0,
        "audio_s": 1500.0,
        "padded_s": 1600.0,
        "cpu_s": dict.fromkeys(KINDS, 5.0),
    }
    return Costs(**(counts | values))


def measured(**values: Any) -> Measured:
    figures = {
        "seconds": 15.0,
        "stable": True,
        "calls": 225,
        "failures": 0,
        "calls_per_s": 15.0,
        "rtfx": 75.0,
        "mean_s": 0.4,
        "p50_s": 0.3,
        "p90_s": 0.7,
        "p95_s": 0.8,
        "p99_s": 1.1,
        "wer": 0.1,
        "queue_s": 0.1,
        "compute_s": 0.1,
        "mean_batch": 2.0,
        "padding_share": 0.06,
        "forwards": {"1": 50, "2": 60, "4": 40, "inf": 0},
        "memory_bytes": 700 * 2**20,
        "costs": costs(),
    }
    return Measured(**(figures | values))


def point(instances: int = 1, concurrency: int = 1, **values: Any) -> Point:
    return Point(setting=setting(instances), concurrency=concurrency, measured=measured(**values))


def live_measured(*, interim_p95_s: float = 0.1, **values: Any) -> LiveMeasured:
    words = LiveFigures(
        streams=4,
        interims=100,
        interim_p50_s=0.02,
        interim_p95_s=interim_p95_s,
        final_p50_s=0.9,
        final_p95_s=1.2,
        flicker=0.2,
        skipped=0,
    )
    figures = {
        "seconds": 20.0,
        "played_s": 19.0,
        "words": words,
        "failures": 0,
        "end_p95_s": 0.1,
        "wer": 0.1,
        "memory_bytes": 800 * 2**20,
        "costs": costs(),
    }
    return LiveMeasured(**(figures | values))


def live_point(instances: int = 1, streams: int = 4, **values: Any) -> LivePoint:
    return LivePoint(setting=setting(instances), streams=streams, measured=live_measured(**values))
