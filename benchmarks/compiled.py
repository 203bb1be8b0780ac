"""`python -m benchmarks.compiled`: what --compile gains on this machine, and what it costs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial

from asr_backend.checkpoint.description import load_checkpoint
from benchmarks.checkpoint import make_checkpoint
from benchmarks.engine import BUILD, clip, in_turn
from benchmarks.machine import describe

LENGTHS_S = (3.0, 10.0)
PRECISIONS = ("fp32", "bf16")
ROUNDS = 5


def main(arguments: list[str] | None = None) -> int:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__)
    parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from asr_backend.acoustic.engine.loading import load_engine, load_model
    from asr_backend.acoustic.engine.torch_engine import TorchEngine

    threads = len(os.sched_getaffinity(0))
    checkpoint = load_checkpoint(make_checkpoint(BUILD / "checkpoints", "base"))
    print(f"base, {threads} threads, medians of {ROUNDS} in turn; {describe()}\n")
    print("| audio | precision | uncompiled, s | compiled, s | gain | load beyond uncompiled, s |")
    print("|---|---|---|---|---|---|")
    for precision in PRECISIONS:
        load = partial(load_engine, checkpoint, device="cpu", precision=precision, threads=threads)
        began = time.perf_counter()
        plain = TorchEngine(checkpoint, load_model(checkpoint), device="cpu", precision=precision)
        middle = time.perf_counter()
        compiled = load(compiled=True)
        extra_s = (time.perf_counter() - middle) - (middle - began)
        for seconds in LENGTHS_S:
            window = clip(seconds)
            costs = in_turn(
                {
                    "plain": partial(plain.forward, [window]),
                    "compiled": partial(compiled.forward, [window]),
                },
                ROUNDS,
            )
            before, after = costs["plain"].wall_s, costs["compiled"].wall_s
            print(
                f"| {seconds:g} s | {precision} | {before:.3f} | {after:.3f} "
                f"| {before / after - 1:+.1%} | {extra_s:.1f} |"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
