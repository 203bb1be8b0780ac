"""`python -m benchmarks.batch_invariance`: how far batching changes a clip's result, by engine.

Clips of unequal lengths and loudness in one forward, against each clip alone in the same engine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asr_backend.checkpoint.description import load_checkpoint
from benchmarks.checkpoint import SIZES, make_checkpoint
from benchmarks.engine import BUILD, clip
from tools.command import make_parser
from tools.machine import describe
from tools.markdown import head, row

if TYPE_CHECKING:
    from asr_backend.acoustic.engine.protocol import Engine

LENGTHS_S = (0.025, 1.0, 2.5, 4.0, 6.0)


def main(arguments: list[str] | None = None) -> int:
    """Print Markdown."""
    parser = make_parser("benchmarks.batch_invariance", __doc__)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--build", type=Path, default=BUILD, help="where checkpoints are kept")
    options = parser.parse_args(arguments)
    from asr_backend.acoustic.engine.loading import load_engine, load_model
    from asr_backend.acoustic.engine.torch_engine import TorchEngine

    checkpoint = load_checkpoint(make_checkpoint(options.build / "checkpoints", options.size))
    threads = len(os.sched_getaffinity(0))
    engines: dict[str, Engine] = {}
    for precision in ("fp32", "bf16", "int8"):
        model = load_model(checkpoint)
        on_torch = TorchEngine(checkpoint, model, device="cpu", precision=precision)
        chosen = load_engine(checkpoint, device="cpu", precision=precision, threads=threads)
        engines |= {engine.name: engine for engine in (on_torch, chosen)}
    print(f"{options.size}, {len(LENGTHS_S)} clips in a forward; {describe()}\n")
    print(head("engine", "largest deviation of a log-probability", "frames with another symbol"))
    windows = [clip(seconds, seed) for seed, seconds in enumerate(LENGTHS_S)]
    windows = [window * (0.05, 5.0)[place % 2] for place, window in enumerate(windows)]
    for name, engine in engines.items():
        together = engine.forward(windows)
        alone = [engine.forward([window])[0] for window in windows]
        pairs = list(zip(together, alone, strict=True))
        largest = max(float(np.abs(one - other).max() / other.std()) for one, other in pairs)
        others = sum(int((one.argmax(-1) != other.argmax(-1)).sum()) for one, other in pairs)
        frames = sum(len(each) for each in alone)
        print(row(name, f"{largest:.1e} of the standard deviation", f"{others} of {frames}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
