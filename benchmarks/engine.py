"""`python -m benchmarks.engine`: the engines beside Hugging Face's model and OpenVINO, in turn.

On base-960h's shape with random weights: one clip at a time by each engine, the cost of a length
that is new to the engine, and 16 callers through gRPC. `--parts` leaves some out; a run takes four
minutes on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from asr_backend.acoustic.forward_plan import FORWARD_START_S, MAX_BATCH_AUDIO_S, plan_forwards
from asr_backend.checkpoint.description import load_checkpoint
from asr_client import Client
from benchmarks.checkpoint import SIZES, make_checkpoint
from benchmarks.matrix_products import bf16_products, network_flop
from tools.command import make_parser, run_main
from tools.local_server import local_server
from tools.machine import describe
from tools.markdown import table

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine

BUILD = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
PARTS = ("clips", "lengths", "budget", "grpc")
BUDGETS_S = (4.0, 15.0, 60.0)
STARTS_S = (0.0, 0.5, 1.0, 2.0, 4.0)
REFERENCE = "Hugging Face, fp32 eager"
PEER = "OpenVINO's conversion, bf16"
Samples = npt.NDArray[np.float32]
Key = TypeVar("Key")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print Markdown; the exit status is 0 when the run was completed."""
    options = command_line().parse_args(arguments)
    # As the server sets it: threads that spin slow down whatever runs beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder = make_checkpoint(options.build / "checkpoints", options.size)
    print(f"{options.size}, {options.threads} threads; {describe()}\n")
    if "clips" in options.parts:
        runs = {REFERENCE: reference(folder, options.threads), PEER: peer(folder, options.threads)}
        runs |= engines(folder, options.threads)
        print(clips_table(runs, options.seconds, options.rounds))
        bf16 = next(name for name in runs if name.startswith("bf16 on"))
        print(matrix_share(folder, bf16, runs[bf16], options.rounds))
    if "lengths" in options.parts:
        print(new_lengths(engines(folder, options.threads)))
    if "budget" in options.parts:
        print(budgets(folder, options.threads, options.rounds))
    if "grpc" in options.parts:
        print(through_grpc(folder, reference(folder, options.threads), options.callers))
    return 0


def command_line() -> argparse.ArgumentParser:
    """The command line."""
    parser = make_parser("benchmarks.engine", __doc__)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", nargs="+", type=float, default=[1.0, 3.0, 10.0, 30.0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", type=Path, default=BUILD, help="where checkpoints are kept")
    return parser


def clip(seconds: float, seed: int = 0) -> Samples:
    """Coloured noise, float32 [samples]."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * 16_000))
    return (0.1 * np.convolve(noise, [0.5, 0.3, 0.2], mode="same")).astype(np.float32)


def reference(folder: Path, threads: int) -> Callable[[Samples], Any]:
    """Feature extractor, model and argmax, as in Hugging Face's examples."""
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.set_num_threads(threads)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = Wav2Vec2ForCTC.from_pretrained(folder).eval()

    def run(samples: Samples) -> Any:
        inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            return model(inputs.input_values).logits.argmax(-1)

    return run


def peer(folder: Path, threads: int) -> Callable[[Samples], Any]:
    """The same network as OpenVINO's own converter makes it, once for a checkpoint, in bf16."""
    import openvino
    import torch
    from transformers import Wav2Vec2ForCTC

    kept = folder.with_suffix(".openvino.xml")
    if not kept.exists():
        model = Wav2Vec2ForCTC.from_pretrained(folder).eval()
        with torch.inference_mode():
            converted = openvino.convert_model(model, example_input=torch.zeros(1, 16_000))
        openvino.save_model(converted, kept, compress_to_fp16=False)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"}
    compiled = openvino.Core().compile_model(
        kept, "CPU", {**hints, "INFERENCE_NUM_THREADS": threads}
    )
    request = compiled.create_infer_request()

    def run(samples: Samples) -> Any:
        normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        return request.infer([normal[None]])[0].argmax(-1)

    return run


def engines(folder: Path, threads: int) -> dict[str, Callable[[Samples], Any]]:
    """This service's engines by name, what `auto` chooses first."""
    from asr_backend.acoustic.engine.loading import load_engine

    made: dict[str, Callable[[Samples], Any]] = {}
    for precision in ("auto", "int8", "bf16", "fp32"):
        engine = load_engine(
            load_checkpoint(folder), device="cpu", precision=precision, threads=threads
        )
        made.setdefault(engine.name, partial(_forward, engine))
    return made


def _forward(engine: Engine, samples: Samples) -> Any:
    return engine.forward([samples])


@dataclass(frozen=True)
class Cost:
    """Medians of one call: seconds by the clock, and seconds of processors."""

    wall_s: float
    processor_s: float


def in_turn(runs: Mapping[Key, Callable[[], Any]], rounds: int) -> dict[Key, Cost]:
    """What a call of each costs, after one that does not count."""
    costs: dict[Key, list[Cost]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _, (name, run) in itertools.product(range(rounds), runs.items()):
        began, began_processor = time.perf_counter(), time.process_time()
        run()
        costs[name].append(Cost(time.perf_counter() - began, time.process_time() - began_processor))
    return {
        name: Cost(
            statistics.median(cost.wall_s for cost in each),
            statistics.median(cost.processor_s for cost in each),
        )
        for name, each in costs.items()
    }


def clips_table(
    runs: Mapping[str, Callable[[Samples], Any]], lengths_s: Sequence[float], rounds: int
) -> str:
    """Seconds of one forward, and how many times faster than the reference and the peer."""
    rows = []
    for seconds in lengths_s:
        samples = clip(seconds)
        costs = in_turn({name: partial(run, samples) for name, run in runs.items()}, rounds)
        reference, peer = costs[REFERENCE], costs[PEER]
        for name, cost in costs.items():
            rows.append(
                (
                    f"{seconds:g} s",
                    name,
                    f"{cost.wall_s:.3f}",
                    f"{reference.wall_s / cost.wall_s:.2f}",
                    f"{peer.wall_s / cost.wall_s:.2f}",
                    f"{cost.processor_s:.3f}",
                    f"{reference.processor_s / cost.processor_s:.2f}",
                )
            )
    titles = ("audio", "engine", "seconds", f"{REFERENCE} / it", f"{PEER} / it")
    return (
        f"One clip at a time, medians of {rounds} runs in turn. Processor seconds are the sum\n"
        "over all cores. Other work on the machine changes them less than seconds by the clock.\n\n"
        f"{table([*titles, 'processor seconds', f'{REFERENCE} / it'], rows)}\n"
    )


def matrix_share(folder: Path, name: str, run: Callable[[Samples], Any], rounds: int) -> str:
    """The machine's rate of matrix products in bf16, and the share of it that an engine reaches."""
    samples = clip(10.0)
    products, flop = bf16_products(folder, samples.size)
    costs = in_turn({"products": products, "engine": partial(run, samples)}, rounds)
    rate = flop / costs["products"].wall_s
    reached = network_flop(folder, samples.size) / costs["engine"].wall_s
    return (
        f"Matrix products in bf16 run at {rate / 1e9:.0f} GFLOP/s here; {name}, reaches "
        f"{reached / 1e9:.0f} GFLOP/s for 10 s of audio, {reached / rate:.0%} of it.\n"
    )


def new_lengths(runs: Mapping[str, Callable[[Samples], Any]]) -> str:
    """Cost of the first forward of a length, beside the next ones."""
    rows = []
    lengths = np.random.default_rng(2).uniform(1, 12, 15)
    for name, run in runs.items():
        run(clip(5.0))
        first, later = [], []
        for seconds in lengths:
            samples = clip(seconds)
            took_s = [in_seconds(partial(run, samples)) for _ in range(3)]
            first.append(took_s[0])
            later.append(min(took_s[1:]))
        medians = (f"{statistics.median(each):.3f}" for each in (first, later))
        rows.append((name, *medians, f"{sum(first) / sum(later) - 1:+.1%}"))
    return (
        "Fifteen lengths of 1 to 12 s, each for the first time and then twice more; medians.\n\n"
        f"{table(('engine', 'first, s', 'later, s', 'first beyond later'), rows)}\n"
    )


def budgets(folder: Path, threads: int, rounds: int) -> str:
    """The effect of --max-batch-audio-s and of the cost of a forward's start, on torch in fp32."""
    from asr_backend.acoustic.engine.loading import load_engine

    engine = load_engine(load_checkpoint(folder), device="cpu", precision="fp32", threads=threads)
    windows = [clip(seconds) for seconds in np.random.default_rng(3).uniform(1, 4, 16)]
    lengths = [window.size for window in windows]

    def run(budget_s: float, start_s: float) -> None:
        for forward in plan_forwards(
            lengths, max_padded=round(budget_s * 16_000), start=round(start_s * 16_000)
        ):
            engine.forward([windows[index] for index in forward])

    plans = [(each, FORWARD_START_S["cpu"]) for each in BUDGETS_S]
    plans += [(MAX_BATCH_AUDIO_S["cpu"], each) for each in STARTS_S]
    seconds = sum(lengths) / 16_000
    costs = in_turn({plan: partial(run, *plan) for plan in plans}, rounds)
    rows = []
    for (budget_s, start_s), cost in costs.items():
        speed, work = seconds / cost.wall_s, cost.processor_s / seconds
        rows.append((f"{budget_s:g}", f"{start_s:g}", f"{speed:.1f}", f"{work:.3f}"))
    titles = ("--max-batch-audio-s", "a start, s of audio", "audio a second, s")
    return (
        "Sixteen windows of 1 to 4 s, fp32 on torch, by how their forwards are planned.\n\n"
        f"{table([*titles, 'processor seconds a second'], rows)}\n"
    )


def in_seconds(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def through_grpc(folder: Path, run: Callable[[Samples], Any], callers: int) -> str:
    """Audio seconds per second of the service and of the reference, in turns of the same clips."""
    lengths = np.random.default_rng(1).uniform(1, 12, callers)
    samples = [clip(seconds, seed) for seed, seconds in enumerate(lengths)]
    spoken = [np.round(each * 32767).astype(np.int16) for each in samples]
    rates: dict[str, list[float]] = {"reference": [], "service": []}
    with (
        tempfile.TemporaryFile() as log,
        local_server(f"--model={folder}", "--precision=auto", log=log) as server,
        Client(server.url, timeout_s=300) as client,
        ThreadPoolExecutor(callers) as pool,
    ):

        def service() -> None:
            list(pool.map(lambda each: client.transcribe(each, sample_rate=16_000), spoken))

        def alone() -> None:
            for each in samples:
                run(each)

        service()
        for _ in range(3):
            for name, turn in (("reference", alone), ("service", service)):
                rates[name].append(sum(lengths) / in_seconds(turn))
    reference_rate, rate = (statistics.median(each) for each in rates.values())
    return (
        f"{callers} callers through gRPC, {len(lengths)} clips of 1 to 12 s, three turns: "
        f"{rate:.1f} s of audio a second; Hugging Face in fp32, one clip at a time, "
        f"{reference_rate:.1f}; {rate / reference_rate:.2f} times.\n"
    )


if __name__ == "__main__":
    run_main(main)
