"""The metrics of the service, which Triton exports with its own under /metrics.

Processes that use the same name share one value: the counts of two instances add up.
"""

from __future__ import annotations

from typing import Any

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_COUNTERS = {
    "asr_audio_seconds_total": "Seconds of audio that went through the network",
    "asr_padded_seconds_total": "Seconds that the network computed: audio and padding",
    "asr_errors_total": "Requests that ended with an error of the service, by its code",
    "asr_oom_splits_total": "Forwards that did not fit the memory and were split",
    "asr_cancelled_total": "Requests dropped because their caller had gone",
    "asr_deferred_windows_total": "Windows of long recordings put off for live audio",
    "asr_stream_audio_seconds_total": "Seconds of live audio that looks have consumed",
    "asr_stream_computed_seconds_total": "Seconds of audio that the network computed for looks",
    "asr_stream_segments_total": "Segments of live audio that became final, by reason",
    "asr_stream_failures_total": "Looks that were answered with an error, by outcome",
}
_GAUGES = {
    "asr_windows_in_flight": "Windows handed to the network and not yet answered, by front",
    "asr_queue_capacity": "Recordings that may wait in the queue of transcribe",
}
_HISTOGRAMS = {
    "asr_forward_windows": ("Windows in one forward", (1.0, 2.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0)),
    "asr_forward_audio_seconds": (
        "Seconds of audio in one forward, without its padding",
        (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0),
    ),
    "asr_stage_seconds": ("Seconds that a stage of the work took, by stage", _SECONDS),
    "asr_call_seconds": ("Seconds of a call in its front, by outcome", _SECONDS),
    "asr_stream_look_seconds": ("Seconds of a look inside the server, by what it found", _SECONDS),
}
_LABELLED = {
    "asr_call_seconds",
    "asr_errors_total",
    "asr_stage_seconds",
    "asr_stream_failures_total",
    "asr_stream_look_seconds",
    "asr_stream_segments_total",
    "asr_windows_in_flight",
}


class Metrics:
    """Counters, gauges and histograms by name.

    Metrics without labels are exported as zero from the start, the others from their first use.

    Args:
        pb_utils: Triton's module, or a test double.
    """

    def __init__(self, pb_utils: Any) -> None:
        family = pb_utils.MetricFamily
        self._families = {
            name: family(name=name, description=text, kind=kind)
            for kind, texts in (
                (family.COUNTER, _COUNTERS),
                (family.GAUGE, _GAUGES),
                (family.HISTOGRAM, {name: text for name, (text, _) in _HISTOGRAMS.items()}),
            )
            for name, text in texts.items()
        }
        self._metrics: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        for name in self._families.keys() - _LABELLED:
            self._metric(name, {})

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Raise a counter."""
        self._metric(name, labels).increment(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._metric(name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one value to a histogram."""
        self._metric(name, labels).observe(value)

    def _metric(self, name: str, labels: dict[str, str]) -> Any:
        key = (name, tuple(sorted(labels.items())))
        if key not in self._metrics:
            buckets = {"buckets": list(_HISTOGRAMS[name][1])} if name in _HISTOGRAMS else {}
            self._metrics[key] = self._families[name].Metric(labels=labels, **buckets)
        return self._metrics[key]
