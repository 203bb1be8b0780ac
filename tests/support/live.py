"""A caller of `transcribe_stream` and live audio for it, over bare gRPC."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support import recordings


def connect(url: str) -> grpc.Channel:
    """A channel to HOST:PORT."""
    return grpc.insecure_channel(
        url, options=[("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    )


def call(
    channel: grpc.Channel,
    audio: bytes,
    options: dict[str, Any],
    *,
    model: str = "transcribe_stream",
    timeout_s: float = 60,
) -> dict[str, Any]:
    """RESULT of one call."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, value in (("AUDIO", audio), ("OPTIONS", json.dumps(options).encode())):
        request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(len(value).to_bytes(4, "little") + value)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    answer = stub.ModelInfer(request, timeout=timeout_s)
    names = [output.name for output in answer.outputs]
    result: dict[str, Any] = json.loads(answer.raw_output_contents[names.index("RESULT")][4:])
    return result


class LiveStream:
    """The caller's side of a stream: the audio that is not final yet, and the state."""

    def __init__(self, channel: grpc.Channel, options: dict[str, Any]) -> None:
        self.channel = channel
        self.options = options
        self.audio = b""
        self.state: dict[str, str] = {}
        self.segments: list[dict[str, Any]] = []
        self.interims: list[dict[str, Any]] = []

    def look(self, *, end: bool = False, **more: Any) -> dict[str, Any]:
        """One look at all audio that is kept; its answer is not taken yet."""
        return call(self.channel, self.audio, {**self.options, **self.state, **more, "end": end})

    def take(self, result: dict[str, Any]) -> None:
        """Take an answer: drop what was consumed, keep the finals."""
        self.audio = self.audio[result["consumed_bytes"] :]
        self.state = {"state": result["state"]}
        self.segments += result["segments"]
        if "interim" in result:
            self.interims.append(result["interim"])

    def run(
        self, chunks: Iterable[bytes], rng: random.Random | None = None
    ) -> list[dict[str, Any]]:
        """All finals of a stream; with a generator, answers are lost and looks repeated."""
        for chunk in chunks:
            self.audio += chunk
            if not self.audio:
                continue
            result = self.look(**({"interim": rng.random() < 0.5} if rng else {}))
            if rng and rng.random() < 0.2:
                again = self.look(interim=False)
                assert again["segments"] == result["segments"]
                assert again["consumed_bytes"] == result["consumed_bytes"]
            if rng and rng.random() < 0.2:
                continue
            self.take(result)
        self.take(self.look(end=True))
        assert self.audio == b""
        return self.segments


def talk(
    seed: int, *, rate_hz: int = recordings.RATE_HZ, count: int = 2
) -> npt.NDArray[np.float32]:
    """Recordings one after another with pauses between and faint noise, float32 [samples]."""
    rng = np.random.default_rng(seed)
    names = sorted(recordings.texts())
    parts = []
    for name in rng.choice(names, count):
        parts += [recordings.samples(name), np.zeros(rng.integers(4_000, 20_000), np.float32)]
    samples = np.concatenate(parts)
    samples = samples + rng.normal(0, 1e-4, len(samples)).astype(np.float32)
    places = np.arange(0, len(samples) - 1, recordings.RATE_HZ / rate_hz)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def encoded(samples: npt.NDArray[np.float32], encoding: str) -> bytes:
    """Raw PCM of float32 [frames] or [frames, channels]."""
    if encoding == "pcm_f32le":
        return samples.astype("<f4").tobytes()
    return np.round(samples.clip(-1, 1) * 32767).astype("<i2").tobytes()


def cuts(audio: bytes, frame_bytes: int, count: int, rng: random.Random) -> list[bytes]:
    """Whole frames in so many pieces of any length."""
    frames = len(audio) // frame_bytes
    places = sorted(rng.randrange(frames + 1) for _ in range(count - 1))
    edges = [0, *places, frames]
    return [
        audio[frame_bytes * start : frame_bytes * end] for start, end in itertools.pairwise(edges)
    ]
