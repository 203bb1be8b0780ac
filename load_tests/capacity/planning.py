"""The load that a machine carries at a target latency, and the machines for a day's audio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from load_tests.capacity.scenario import Load, Machine, Outcome
from load_tests.capacity.service import Service
from load_tests.capacity.simulation import simulate, windows_of
from load_tests.run.listener import HOP_S

CALLS = 12_000
"""Simulated calls of one load; its p99 is based on 120 of them."""

LOOKS = 6_000
"""Simulated looks of one number of live streams."""

HALVINGS = 7
"""Of the interval in which the greatest load is looked for: it is found to 1 % of the bound."""

DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The greatest load of random arrivals that keeps the target."""

    calls_per_s: float
    outcome: Outcome

    @property
    def limit(self) -> str:
        """Which of the machine's parts is the busiest at that load."""
        busy = {
            "fronts": self.outcome.fronts_busy,
            "cores": self.outcome.cores_busy,
            "GPUs": self.outcome.gpus_busy,
            "instances": self.outcome.instances_busy,
        }
        name = max(busy, key=lambda part: busy[part])
        return f"{name} {busy[name]:.0%} busy"


def bound_per_s(machine: Machine, service: Service, lengths_s: Sequence[float]) -> float:
    """The maximum calls a second of the machine, whatever the latency.

    The operational law: each part's time over what a call needs of it, forwards full.
    """
    windows = [window for length in lengths_s for window in windows_of(length)]
    per_call = len(windows) / len(lengths_s)
    audio_s = sum(windows) / len(lengths_s)
    forwards = audio_s / machine.max_forward_s
    front_s = service.stretch * per_call * service.front_s
    core_s = service.stretch * service.triton_s + front_s
    bounds = [machine.fronts / front_s] if front_s else []
    if machine.gpus:
        gpu_s = forwards * machine.gpu_forward_s + audio_s / machine.gpu_rtfx
        bounds.append(machine.gpus / gpu_s)
    else:
        core_s += service.stretch * (forwards * service.forward_s + audio_s * service.padded_s)
    return min([*bounds, machine.cores / core_s])


def greatest_load(
    machine: Machine,
    service: Service,
    lengths_s: Sequence[float],
    *,
    p95_s: float,
    calls: int = CALLS,
) -> Carried | None:
    """Search by halving; None where not even the smallest load looked at keeps the target."""
    low, high = 0.0, bound_per_s(machine, service, lengths_s)
    best = None
    for _ in range(HALVINGS):
        rate = (low + high) / 2
        load = Load(lengths_s=lengths_s, calls_per_s=rate)
        outcome = simulate(
            machine, service, load, seconds=calls / rate, warm_up_s=0.1 * calls / rate
        )
        # What is not answered piles up: its latency is yet to be seen.
        answered = len(outcome.latencies_s) >= 0.97 * calls
        if answered and outcome.percentile_s(0.95) <= p95_s:
            low, best = rate, Carried(calls_per_s=rate, outcome=outcome)
        else:
            high = rate
    return best


def streams_held(
    machine: Machine,
    service: Service,
    utterances_s: Sequence[float],
    *,
    p95_s: float,
    looks: int = LOOKS,
) -> int:
    """The most live streams with p95 of an interim within the target, to 5 %; 0 where none.

    Args:
        machine: its fronts are those of `transcribe_stream`.
        service: the costs.
        utterances_s: lengths of what is said between two pauses, seconds.
        p95_s: target, from when the look of an interim is due.
        looks: simulated for each number of streams.
    """

    def keeps(streams: int) -> bool:
        seconds = min(60.0, max(5.0, looks * HOP_S / streams))
        load = Load(lengths_s=utterances_s, streams=streams)
        outcome = simulate(machine, service, load, seconds=seconds, warm_up_s=2.0)
        return outcome.percentile_s(0.95) <= p95_s

    low, high = 0, 1
    while keeps(high):
        low, high = high, 2 * high
    while high - low > max(1, 0.05 * low):
        middle = (low + high) // 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low


def enough_fronts(
    machine: Machine, service: Service, lengths_s: Sequence[float], *, share: float = 0.7
) -> Machine:
    """The machine with so many fronts and cores that neither is busier than `share`.

    The cores are those of fronts and tritonserver alone.
    """
    windows = sum(len(windows_of(length)) for length in lengths_s) / len(lengths_s)
    boundless = replace(machine, fronts=10**6, cores=10**6)
    rate = bound_per_s(boundless, service, lengths_s)
    front_s = rate * service.stretch * windows * service.front_s
    return replace(
        machine,
        fronts=max(1, math.ceil(front_s / share)),
        cores=max(1, math.ceil((front_s + rate * service.stretch * service.triton_s) / share)),
    )


def machines_for(audio_hours_a_day: float, *, peak: float, rtfx: float) -> int:
    """Machines for a day's audio.

    Args:
        audio_hours_a_day: hours of audio that arrive in 24 hours.
        peak: the busiest time's arrivals over the mean.
        rtfx: seconds of audio a second that one machine carries.
    """
    return math.ceil(audio_hours_a_day * 3600 / DAY_S * peak / rtfx)
