"""The service through gRPC beside its engine, with the same clips.

Recordings are sent as raw PCM, so that no libav is needed.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.engine import clip, load
from benchmarks.gpu.part import Part

CALLERS = (1, 16, 64, 256)
CLIP_S = (1.0, 12.0)
LONG_S, LONG_FILES = 600.0, 8
TURN_S = 6.0
"""How long callers send one recording after the other."""
CALLERS_IN_A_PROCESS = 32
"""One Python process does not send fast enough for a GPU."""


def service(part: Part, instances: str) -> None:
    """Rates by callers; first the engine alone."""
    clips = _clips(16 if part.is_tiny else 256, (0.2, 0.5) if part.is_tiny else CLIP_S)
    if instances == "1":
        part.row(system="engine alone", callers="-", audio_a_second=_offline(part, clips))
    # Before the server starts, so that the report names a package that is not there.
    import asr_client  # noqa: F401
    from tools.local_server import local_server

    flags = [f"--model={part.checkpoint()}", f"--device={part.device}", "--precision=auto"]
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        try:
            with local_server(*flags, f"--instances={instances}", log=log) as server:
                part.note(f"ready after {time.monotonic() - began:.0f} s")
                _measure(part, server.url, clips, f"service, instances: {instances}")
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {_end_of(log)}") from None


def _clips(count: int, seconds: tuple[float, float]) -> list[npt.NDArray[np.int16]]:
    lengths = np.random.default_rng(1).uniform(*seconds, count)
    return [
        np.round(clip(length, seed) * 32767).astype(np.int16) for seed, length in enumerate(lengths)
    ]


def _offline(part: Part, clips: Sequence[npt.NDArray[np.int16]]) -> float:
    """Audio seconds per second of the engine in this process, all clips known beforehand."""
    from asr_backend.acoustic.forward_plan import FORWARD_START_S, MAX_BATCH_AUDIO_S, plan_forwards

    engine = load(part, "auto")
    windows = [each.astype(np.float32) / 32768 for each in clips]
    plan = plan_forwards(
        [each.size for each in windows],
        max_padded=round(MAX_BATCH_AUDIO_S[part.device] * 16_000),
        start=round(FORWARD_START_S[part.device] * 16_000),
        max_windows=engine.max_windows,
    )
    took = []
    for _ in range(3):
        began = time.perf_counter()
        for forward in plan:
            engine.forward([windows[index] for index in forward])
        took.append(time.perf_counter() - began)
    return sum(each.size for each in windows) / 16_000 / statistics.median(took[1:])


def _measure(part: Part, url: str, clips: Sequence[npt.NDArray[np.int16]], system: str) -> None:
    turn_s = 0.5 if part.is_tiny else TURN_S
    turns = [(callers, "clips", clips) for callers in ((1, 4) if part.is_tiny else CALLERS)]
    long_s, files = (3.0, 2) if part.is_tiny else (LONG_S, LONG_FILES)
    long = np.resize(np.concatenate(clips), round(long_s * 16_000))
    turns.append((files, f"files of {long_s:g} s", [long]))
    for callers, what, recordings in turns:
        part.row(
            system=system,
            callers=callers,
            recordings=what,
            **_turn(url, recordings, callers, turn_s),
        )


def _turn(
    url: str, recordings: Sequence[npt.NDArray[np.int16]], callers: int, turn_s: float
) -> dict[str, float | int]:
    """What callers get that each send one recording after the other."""
    processes = min(-(-callers // CALLERS_IN_A_PROCESS), len(os.sched_getaffinity(0)))
    shares = [len(each) for each in np.array_split(np.arange(callers), processes)]
    context = multiprocessing.get_context("spawn")
    start_at = time.time() + (4.0 if processes > 1 else 0.2)
    with context.Pool(processes) if processes > 1 else ThreadPoolExecutor(1) as pool:
        asked = [(url, list(recordings), share, start_at, turn_s) for share in shares]
        results = list(pool.map(_callers, asked))
    calls = [call for result in results for call in result]
    good = [(ended, took, audio) for ended, took, audio in calls if audio]
    if not good:
        raise RuntimeError(f"all {len(calls)} calls of {callers} callers failed")
    span_s = max(ended for ended, _, _ in good) - start_at
    took_s = [took for _, took, _ in good]
    return {
        "calls": len(calls),
        "failed": len(calls) - len(good),
        "audio_a_second": sum(audio for _, _, audio in good) / span_s,
        "p50_ms": 1e3 * float(np.percentile(took_s, 50)),
        "p95_ms": 1e3 * float(np.percentile(took_s, 95)),
    }


def _callers(
    asked: tuple[str, list[npt.NDArray[np.int16]], int, float, float],
) -> list[tuple[float, float, float]]:
    """Callers of one process: end, duration and audio seconds of each call, 0 for a failed one."""
    from asr_client import AsrError, Client

    url, recordings, callers, start_at, turn_s = asked
    calls: list[tuple[float, float, float]] = []
    with Client(url, timeout_s=60) as client, ThreadPoolExecutor(callers) as pool:

        def caller(first: int) -> None:
            time.sleep(max(0.0, start_at - time.time()))
            place = first
            while time.time() < start_at + turn_s:
                samples = recordings[place % len(recordings)]
                place += callers
                began = time.time()
                try:
                    client.transcribe(samples, sample_rate=16_000)
                    audio_s = samples.size / 16_000
                except AsrError as error:
                    print(error, file=sys.stderr)
                    audio_s = 0.0
                calls.append((time.time(), time.time() - began, audio_s))

        list(pool.map(caller, range(callers)))
    return calls


def _end_of(log: IO[bytes], lines: int = 3) -> str:
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()
    return " / ".join(said[-lines:])
