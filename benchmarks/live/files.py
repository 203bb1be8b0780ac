"""Long recordings that a server transcribes while streams play."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from benchmarks.live.streams import PCM, RATE_HZ, channel, request, value
from benchmarks.long_audio import build_recording
from tools.local_server import LocalServer

START_S = 60.0
"""Longest wait for the first window of a recording."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A recording."""

    audio: bytes
    options: dict[str, Any]


def speech(minutes: float) -> File:
    """A FLAC file of utterances with pauses: most of its windows are 2 to 8 s long."""
    return File(audio=build_recording(60 * minutes, seed=1).flac, options={})


def without_pauses(minutes: float) -> File:
    """Noise of even loudness, as raw PCM: all its windows have the greatest length."""
    count = round(60 * minutes * RATE_HZ)
    noise = np.random.default_rng(1).normal(0, 3000, count).astype("<i2")
    return File(audio=noise.tobytes(), options=PCM)


@contextmanager
def in_progress(server: LocalServer, file: File, count: int) -> Iterator[None]:
    """Transcribe so many copies of the recording, again and again, while the block runs.

    It begins when the network has heard some of each, and ends them where they are.

    Raises:
        RuntimeError: a recording was refused, or not begun in time.
    """
    over = threading.Event()
    errors: list[str] = []
    with channel(server.url) as opened:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(opened)
        made = request("transcribe", file.audio, file.options)

        def send() -> None:
            while not over.is_set():
                answer = stub.ModelInfer.future(made, timeout=3600)
                while not answer.done():
                    if over.wait(0.05):
                        answer.cancel()
                if not answer.cancelled() and answer.code() is not grpc.StatusCode.OK:
                    errors.append(answer.details())
                    return

        threads = [threading.Thread(target=send) for _ in range(count)]
        began = value(server.metrics(), "asr_audio_seconds_total")
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + START_S
            while value(server.metrics(), "asr_audio_seconds_total") - began < 20 * count:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{count} recordings were not begun in {START_S:.0f} s")
                time.sleep(0.1)
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
    if errors:
        raise RuntimeError(errors[0])
