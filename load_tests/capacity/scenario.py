"""The input and the result of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from asr_backend.acoustic.forward_plan import MAX_BATCH_AUDIO_S
from load_tests.report.tally import percentile


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One server and what it runs on."""

    cores: float
    fronts: int
    instances: int
    """Of `wav2vec2` on each device."""

    gpus: int = 0
    """Devices that run forwards; 0 lets the cores run them."""

    threads: int = 1
    """Of an instance on the cores."""

    max_batch_size: int = 32
    max_queue_delay_us: int = 2000
    max_forward_s: float = MAX_BATCH_AUDIO_S["cpu"]
    """Maximum padded seconds of one forward."""

    gpu_forward_s: float = 0.0
    """GPU seconds of one forward, whatever is in it."""

    gpu_rtfx: float = 1.0
    """Seconds of audio that one GPU computes in a second, padding counted."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The load: calls in flight, calls a second at random times, or live streams."""

    lengths_s: Sequence[float]
    """Of the clips, which are sent again and again in random orders; of the utterances of live
    streams."""

    callers: int = 0
    """Calls in flight, from the same machine; 0 for an open loop."""

    calls_per_s: float = 0.0
    """Of a Poisson process, from other machines; 0 for a closed loop."""

    streams: int = 0
    """Live streams from other machines; the machine's fronts are those of `transcribe_stream`, and
    a latency is that of an interim, from when its look was due."""

    seed: int = 0


@dataclass(kw_only=True)
class Outcome:
    """The results of the simulated time after the warm-up."""

    seconds: float
    latencies_s: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    forwards: int = 0
    windows: int = 0
    cores_busy: float = 0.0
    """Share of the cores' time that they worked, from the start on, as the two below."""
    instances_busy: float = 0.0
    """The same of the instances of the network."""
    fronts_busy: float = 0.0
    """The same of the fronts."""
    gpus_busy: float = 0.0
    """The same of the GPUs."""

    @property
    def rtfx(self) -> float:
        """Seconds of audio answered in a second."""
        return self.audio_s / self.seconds

    def percentile_s(self, share: float) -> float:
        """Of the time from a call to its answer; 0 without calls."""
        return percentile(self.latencies_s, share)
