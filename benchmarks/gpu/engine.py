"""The engine alone: its rate, its memory, and whether a clip's neighbours change its result."""

from __future__ import annotations

import statistics
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asr_backend.acoustic.features import network_input
from asr_backend.checkpoint.description import load_checkpoint
from benchmarks.gpu.part import Part

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine

WINDOWS_S = (2.0, 5.0, 20.0)
BUDGETS_S = (20.0, 80.0, 320.0, 640.0, 1280.0)
ROUNDS = 3
CLIPS_S = (0.025, 1.0, 2.5, 4.0, 6.0, 11.0, 20.0)
TOLERANCES = {"fp32": 1e-4, "bf16": 0.05, "fp16": 0.05}
"""How far a neighbour may move a log-probability, in standard deviations: docs/engine.md."""


def clip(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """Coloured noise, float32 [samples]."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * 16_000))
    return (0.1 * np.convolve(noise, [0.5, 0.3, 0.2], mode="same")).astype(np.float32)


def load(part: Part, precision: str, **settings: Any) -> Engine:
    """The engine that the service would run."""
    from asr_backend.acoustic.engine.loading import load_engine

    return load_engine(
        load_checkpoint(part.checkpoint()),
        device=part.device,
        precision=precision,
        threads=2,
        **settings,
    )


def engine(part: Part, precision: str) -> None:
    """Audio seconds per second by window length and audio of a forward."""
    loaded = load(part, precision)
    part.note(f"{loaded.name}; lengths vary by a fifth, medians of {ROUNDS} forwards.")
    for window_s in (0.2, 0.5) if part.is_tiny else WINDOWS_S:
        for budget_s in (0.5, 2.0) if part.is_tiny else BUDGETS_S:
            if budget_s >= window_s:
                measure(part, loaded, window_s, budget_s)
    finish(part)


def finish(part: Part) -> None:
    """Let the part fail where one of its rows did."""
    failed = sum(row.get("outcome", "").startswith("FAILED") for row in part.rows)
    if failed:
        sys.exit(f"{failed} of {len(part.rows)} kinds of forward failed")


def measure(part: Part, engine: Engine, window_s: float, budget_s: float, **more: Any) -> None:
    """Add the row of one kind of forward; `more` are columns to begin it with."""
    lengths = np.random.default_rng(0).uniform(0.8, 1.0, round(budget_s / window_s))
    windows = [clip(window_s * share, seed) for seed, share in enumerate(lengths)]
    audio_s = sum(window.size for window in windows) / 16_000
    columns: dict[str, Any] = {**more, "window_s": window_s, "forward_s": budget_s}
    try:
        forward_s = seconds_of(engine, windows)
    except MemoryError:
        part.row(**columns, windows=len(windows), outcome="out of memory")
        return
    except Exception as error:
        # One size that a library cannot do must not hide the others; `finish` counts it.
        traceback.print_exc()
        lines = str(error).splitlines() or [repr(error)]
        part.row(**columns, windows=len(windows), outcome=f"FAILED: {lines[0]}")
        return
    began = time.perf_counter()
    for window in windows:
        network_input(window, engine.checkpoint)
    prepared_s = time.perf_counter() - began
    part.row(
        **columns,
        windows=len(windows),
        seconds=forward_s,
        audio_a_second=audio_s / forward_s,
        of_which_normalising_on_the_CPU=f"{prepared_s / forward_s:.0%}",
        peak_MiB=_peak_mib(part),
        outcome="done",
    )


def seconds_of(engine: Engine, windows: Sequence[npt.NDArray[np.float32]]) -> float:
    """Median of a forward, after one that does not count; its result is on the CPU then."""
    _forget_peak(engine)
    engine.forward(windows)
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        engine.forward(windows)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _forget_peak(engine: Engine) -> None:
    import torch

    if "cuda" in engine.name:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_mib(part: Part) -> float | str:
    import torch

    return torch.cuda.max_memory_reserved() / 2**20 if part.device == "cuda" else "-"


def compiled(part: Part) -> None:
    """--compile beside uncompiled layers, and what it takes to load."""
    from asr_backend.acoustic.engine.loading import load_model
    from asr_backend.acoustic.engine.torch_engine import TorchEngine

    checkpoint = load_checkpoint(part.checkpoint())
    precision = "fp32" if part.is_tiny else "bf16"
    sizes = [(0.2, 0.5)] if part.is_tiny else [(2.0, 80.0), (2.0, 320.0), (20.0, 320.0)]
    for compiling in (False, True):
        began = time.perf_counter()
        loaded = TorchEngine(
            checkpoint,
            load_model(checkpoint),
            device=part.device,
            precision=precision,
            compiled=compiling,
        )
        load_s = time.perf_counter() - began
        for window_s, budget_s in sizes:
            measure(part, loaded, window_s, budget_s, layers=loaded.name, load_s=load_s)
    finish(part)


def invariance(part: Part) -> None:
    """How far a log-probability moves when its clip is batched with others."""
    seconds = CLIPS_S[:4] if part.is_tiny else CLIPS_S
    windows = [clip(each, seed) for seed, each in enumerate(seconds)]
    # Loud beside quiet.
    windows = [window * (0.05, 5.0)[place % 2] for place, window in enumerate(windows)]
    beyond = []
    for precision, tolerance in TOLERANCES.items():
        loaded = load(part, precision)
        together = loaded.forward(windows)
        alone = [loaded.forward([window])[0] for window in windows]
        pairs = list(zip(together, alone, strict=True))
        largest = max(float(np.abs(one - other).max() / other.std()) for one, other in pairs)
        others = sum(int((one.argmax(-1) != other.argmax(-1)).sum()) for one, other in pairs)
        part.row(
            engine=loaded.name,
            largest_deviation=largest,
            tolerance=tolerance,
            within="yes" if largest <= tolerance else "NO",
            frames=sum(len(each) for each in alone),
            with_another_symbol=others,
        )
        if largest > tolerance:
            beyond.append(precision)
    if beyond:
        sys.exit(f"neighbours change a clip's result beyond the tolerance in {', '.join(beyond)}")
