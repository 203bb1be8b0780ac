"""`python -m load_tests.capacity SWEEP.json`: plans from the costs that a sweep measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr_backend.acoustic.forward_plan import MAX_BATCH_AUDIO_S
from load_tests.capacity.heldout import Prediction, calibrate, leave_out, typical
from load_tests.capacity.planning import enough_fronts, greatest_load, machines_for, streams_held
from load_tests.capacity.scenario import Machine
from load_tests.capacity.service import Gpu, Service, read_gpu
from load_tests.run.corpus import build_corpus
from load_tests.sweep.store import Sweep, read_sweep
from tools.command import count, make_parser, seconds, several
from tools.recordings import read_pcm, transcripts

GROUPS = {
    "an instance count": lambda point: point.setting.instances,
    "a number of callers": lambda point: point.concurrency,
}
"""What is left out together, and then predicted from the rest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = command_line().parse_args(arguments)
    try:
        sweep = read_sweep(options.sweep)
        lengths_s = [clip.duration_s for clip in build_corpus(seed=options.seed)]
        service = calibrate(sweep.points, sweep.conditions, lengths_s)
    except (OSError, ValueError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 1
    gpu = read_gpu(sweep.points)
    _print_costs(service, lengths_s)
    if options.held_out:
        _print_held_out(sweep, lengths_s)
    print(f"A GPU {'as assumed' if gpu is None else 'as measured'}: {gpu or _assumed(options)}\n")
    _print_machines(options, service, gpu or _assumed(options), lengths_s)
    return 0


def _assumed(options: argparse.Namespace) -> Gpu:
    return Gpu(forward_s=options.gpu_forward_ms / 1000, rtfx=options.gpu_rtfx)


def _print_costs(service: Service, lengths_s: Sequence[float]) -> None:
    mean_s = sum(lengths_s) / len(lengths_s)
    front_s = service.stretch * service.front_s
    print(
        f"Costs in processor time of one core of the sweep's machine (clips of {mean_s:.1f} s):\n"
        f"  a forward {1000 * service.forward_s:.1f} ms and {1000 * service.padded_s:.2f} ms for "
        f"each second in it, padding counted\n"
        f"  a front {1000 * service.front_s:.1f} ms a window, tritonserver "
        f"{1000 * service.triton_s:.1f} ms a call, the callers {1000 * service.caller_s:.1f} ms\n"
        f"  all of it takes {service.stretch:.2f} times as long as that\n"
        f"  one front saturates at {1 / front_s:.0f} windows a second, "
        f"{mean_s / front_s:.0f} s of audio a second\n"
    )


def _print_held_out(sweep: Sweep, lengths_s: Sequence[float]) -> None:
    for name, group in GROUPS.items():
        predictions = leave_out(sweep, lengths_s, group)
        rtfx = [each.rtfx_error for each in predictions]
        p95 = [each.p95_error for each in predictions]
        print(
            f"Held out {name} at a time: throughput off by {typical(rtfx):.0%} (median), "
            f"{max(map(abs, rtfx)):.0%} (most); p95 by {typical(p95):.0%} and "
            f"{max(map(abs, p95)):.0%}"
        )
        for each in predictions:
            print(f"  {_line(each)}")
        print()


def _line(predicted: Prediction) -> str:
    point, measured = predicted.point, predicted.measured
    return (
        f"{point.setting.instances} instances, {point.concurrency:2} callers: audio s/s "
        f"{measured.rtfx:6.1f} measured, {predicted.rtfx:6.1f} predicted "
        f"({predicted.rtfx_error:+.0%}); p95 {measured.p95_s:.2f} s, {predicted.p95_s:.2f} s"
    )


def _print_machines(
    options: argparse.Namespace, service: Service, gpu: Gpu, lengths_s: Sequence[float]
) -> None:
    print(
        f"Greatest load of random arrivals with p95 at most {options.max_p95_s:g} s, most live "
        f"streams instead of it with\np95 of an interim at most {options.max_interim_p95_s:g} s, "
        f"and the machines for\n{options.audio_hours_a_day:,.0f} audio-hours a day with a peak of "
        f"{options.peak:g} times the mean:\n"
        f"  {'machine':44} {'calls/s':>8} {'audio s/s':>9} {'p95 s':>6} {'live':>6}  busiest"
    )
    for instances in options.instances:
        machine = Machine(
            cores=options.cpu_cores,
            fronts=options.fronts or 4,
            instances=instances,
            threads=max(1, options.cpu_cores // instances),
        )
        name = f"CPU, {_many(instances, 'instance')}, {_shape(machine)}"
        _print_machine(options, name, 1.0, machine, service, lengths_s)
    for gpus in options.gpus:
        machine = _gpu_machine(options, gpus, gpu, service, lengths_s)
        share = gpus / machine.gpus
        name = f"{_many(machine.gpus, 'GPU')}, {_shape(machine)}"
        name = f"{share:g} x {name}" if share > 1 else name
        _print_machine(options, name, share, machine, service, lengths_s)


def utterances_s() -> list[float]:
    """Lengths of what live streams say between two pauses: those of the recordings."""
    return [len(pcm) / 2 / rate for pcm, rate in (read_pcm(path) for path, _ in transcripts())]


def _print_machine(
    options: argparse.Namespace,
    name: str,
    machines: float,
    machine: Machine,
    service: Service,
    lengths_s: Sequence[float],
) -> None:
    """A line; calls that are dealt out at random reach each of many machines at random as well."""
    carried = greatest_load(machine, service, lengths_s, p95_s=options.max_p95_s)
    if carried is None:
        print(f"  {name:44} no load looked at keeps the target")
        return
    outcome = carried.outcome
    target_s = options.max_interim_p95_s
    streams = streams_held(machine, service, utterances_s(), p95_s=target_s)
    needed = machines_for(options.audio_hours_a_day, peak=options.peak, rtfx=outcome.rtfx)
    print(
        f"  {name:44} {machines * carried.calls_per_s:8.1f} {machines * outcome.rtfx:9.0f} "
        f"{outcome.percentile_s(0.95):6.2f} {machines * streams:6.0f}  {carried.limit}; "
        f"{needed:,} machines"
    )


def _gpu_machine(
    options: argparse.Namespace,
    gpus: int,
    gpu: Gpu,
    service: Service,
    lengths_s: Sequence[float],
) -> Machine:
    machine = Machine(
        cores=1,
        fronts=1,
        instances=options.instances_a_gpu,
        gpus=min(gpus, options.gpus_a_machine),
        gpu_forward_s=gpu.forward_s,
        gpu_rtfx=gpu.rtfx,
        max_forward_s=MAX_BATCH_AUDIO_S["cuda"],
    )
    fitted = enough_fronts(machine, service, lengths_s)
    return replace(fitted, fronts=options.fronts) if options.fronts else fitted


def _shape(machine: Machine) -> str:
    return f"{_many(int(machine.cores), 'core')}, {_many(machine.fronts, 'front')}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def command_line() -> argparse.ArgumentParser:
    """The command line of `python -m load_tests.capacity`."""
    doc = "Predicts machines that were not measured from the costs of a sweep."
    parser = make_parser("load_tests.capacity", doc)
    add = parser.add_argument
    add("sweep", type=Path, help="a sweep.json; assumptions yield to its points on GPUs")
    add("--held-out", action="store_true", help="say how far the model is off on the sweep itself")
    add("--instances", type=several(count), default=[1, 2, 4, 8], help="on the CPU")
    add("--cpu-cores", type=count, default=8, help="of a machine without GPUs")
    add("--gpus", type=several(count), default=[1, 8, 100], help="of all machines together")
    add("--gpus-a-machine", type=count, default=8, help="maximum of one machine")
    add("--instances-a-gpu", type=count, default=2, help="wav2vec2 processes")
    add("--gpu-rtfx", type=float, default=Gpu.rtfx, help="assumed: audio seconds a GPU second")
    add("--gpu-forward-ms", type=float, default=10.0, help="assumed: a forward's start")
    add("--fronts", type=count, help="of a machine; as many as it needs where not named")
    add("--max-p95-s", type=seconds, default=2.0, help="target, seconds")
    add("--max-interim-p95-s", type=seconds, default=0.5, help="target of live streams, seconds")
    add("--audio-hours-a-day", type=float, default=1e6, help="to plan for")
    add("--peak", type=float, default=2.0, help="the busiest time over the mean")
    add("--seed", type=int, default=0, help="of the clips")
    return parser


if __name__ == "__main__":
    sys.exit(main())
