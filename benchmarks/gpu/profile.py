"""One forward, operation by operation: waits of the CPU, gaps of the GPU, small kernels."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.engine import clip, load
from benchmarks.gpu.part import Part

SMALL_US = 5.0
"""A kernel that takes less is not worth its launch."""
_ON_DEVICE = {"cuda": ("kernel", "gpu_memcpy", "gpu_memset"), "cpu": ("cpu_op",)}
_WAITS = (
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy"),
    *("aten::_local_scalar_dense", "aten::nonzero"),
)
"""What the CPU calls to wait for the device."""
_SHOWN = 15


def profile(part: Part) -> None:
    """Profile a forward of unequal windows, of as much audio as the service takes."""
    import torch
    from torch.profiler import ProfilerActivity

    engine = load(part, "auto" if part.device == "cuda" else "fp32")
    count, window_s = (3, 0.5) if part.is_tiny else (64, 5.0)
    lengths = np.random.default_rng(0).uniform(0.8, 1.0, count)
    windows = [clip(window_s * share, seed) for seed, share in enumerate(lengths)]
    for _ in range(2):
        engine.forward(windows)
    activities = [ProfilerActivity.CPU]
    if part.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        with torch.profiler.profile(activities=activities) as profiler:
            engine.forward(windows)
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    part.note(f"{engine.name}, {count} windows of {0.8 * window_s:g} to {window_s:g} s")
    summarize(part, [event for event in events if event.get("ph") == "X"])


def summarize(part: Part, events: Sequence[Mapping[str, Any]]) -> None:
    """Notes on the whole, and a row for each kernel that takes most."""
    kernels = [event for event in events if event.get("cat") in _ON_DEVICE[part.device]]
    if not kernels:
        raise RuntimeError("the profiler saw nothing on the device")
    span_us, busy_us = span_and_busy_us((each["ts"], each["ts"] + each["dur"]) for each in kernels)
    small = [each["dur"] for each in kernels if each["dur"] < SMALL_US]
    part.note(
        f"- {len(kernels)} operations on the device within {span_us / 1e3:.2f} ms, which was idle "
        f"for {1 - busy_us / span_us:.1%} of that time"
    )
    part.note(
        f"- {len(small)} of them take less than {SMALL_US:g} us, {sum(small) / 1e3:.2f} ms in all"
    )
    waits = Counter(each["name"] for each in events if each["name"] in _WAITS)
    listed = ", ".join(f"{name} {count} times" for name, count in waits.most_common())
    part.note(f"- the CPU waits for the device: {listed or 'never'}")
    took, calls = Counter[str](), Counter[str]()
    for each in kernels:
        took[each["name"]] += each["dur"]
        calls[each["name"]] += 1
    for name, took_us in took.most_common(_SHOWN):
        part.row(
            operation=name[:90],
            calls=calls[name],
            ms=took_us / 1e3,
            share=f"{took_us / sum(took.values()):.1%}",
        )


def span_and_busy_us(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """From the first begin to the last end, and how much of it some interval covers."""
    ordered = sorted(intervals)
    first, last = ordered[0][0], ordered[0][0]
    busy = 0.0
    for begin, end in ordered:
        busy += max(0.0, end - max(begin, last))
        last = max(last, end)
    return last - first, busy
