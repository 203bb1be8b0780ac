"""Streams of live audio that play in real time, and calls over bare gRPC."""

from __future__ import annotations

import json
import struct
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

DATA = Path(__file__).parents[2] / "tests" / "data"
RATE_HZ = 16_000
FRAME_BYTES = 2
GROWTH = 0.1
PCM: dict[str, Any] = {"encoding": "pcm_s16le", "sample_rate": RATE_HZ, "channels": 1}


@dataclass
class Played:
    """What one stream found."""

    interim_s: list[float] = field(default_factory=list)
    """Seconds from when each interim's look was due to its answer."""
    final_s: list[float] = field(default_factory=list)
    looks: int = 0
    failed: int = 0
    sent_bytes: int = 0
    texts: list[str] = field(default_factory=list)
    stable: list[tuple[int, list[str]]] = field(default_factory=list)
    """Segment and stable words of each interim."""


def talk(seed: int) -> tuple[bytes, str]:
    """PCM of all recordings in some order, and the true words."""
    rng = np.random.default_rng(seed)
    rows = [line.split("\t") for line in (DATA / "transcripts.tsv").read_text().splitlines()[1:]]
    parts, words = [np.zeros(RATE_HZ, np.float64)], []
    for place in rng.permutation(len(rows)):
        name, text = rows[place][:2]
        with wave.open(str(DATA / name)) as file:
            parts.append(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float))
        parts.append(np.zeros(rng.integers(RATE_HZ // 2, 3 * RATE_HZ // 2)))
        words.append(text.upper())
    samples = np.concatenate(parts)
    samples += rng.normal(0, samples.std() * 10 ** (-35 / 20), len(samples))
    return samples.clip(-32768, 32767).astype("<i2").tobytes(), " ".join(words)


def channel(url: str) -> grpc.Channel:
    """A connection of its own to HOST:PORT."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(url, options=options)


def request(model: str, audio: bytes, options: dict[str, Any]) -> Any:
    """A ModelInferRequest for RESULT."""
    made = service_pb2.ModelInferRequest(model_name=model)
    made.outputs.add(name="RESULT")
    for name, value in (("AUDIO", audio), ("OPTIONS", json.dumps(options).encode())):
        made.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        made.raw_input_contents.append(struct.pack("<I", len(value)) + value)
    return made


def call(opened: grpc.Channel, model: str, audio: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """RESULT of one call."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(opened)
    answer = stub.ModelInfer(request(model, audio, options), timeout=60)
    result: dict[str, Any] = json.loads(answer.raw_output_contents[0][4:])
    return result


def play(url: str, audio: bytes, *, decoder: str, hop_s: float, delay_s: float = 0.0) -> Played:
    """Play a stream in real time; look every max(hop_s, GROWTH x the open segment).

    A look that fails is counted, and the next one has its audio.

    Args:
        url: HOST:PORT.
        audio: PCM.
        decoder: of OPTIONS.
        hop_s: of a short segment.
        delay_s: before it begins.
    """
    played = Played()
    seconds = len(audio) / FRAME_BYTES / RATE_HZ
    began = time.monotonic() + delay_s
    consumed = heard = 0
    state: dict[str, str] = {}
    open_s = 0.0
    with channel(url) as opened:
        while heard < len(audio):
            due_s = heard / FRAME_BYTES / RATE_HZ + max(hop_s, GROWTH * open_s)
            due_s = min(max(due_s, time.monotonic() - began), seconds)
            time.sleep(max(0.0, began + due_s - time.monotonic()))
            heard = min(FRAME_BYTES * round(due_s * RATE_HZ), len(audio))
            options = {**PCM, "decoder": decoder, **state, "end": heard == len(audio)}
            played.looks += 1
            played.sent_bytes += heard - consumed
            try:
                result = call(opened, "transcribe_stream", audio[consumed:heard], options)
            except grpc.RpcError:
                played.failed += 1
                continue
            took_s = time.monotonic() - began - due_s
            consumed += result["consumed_bytes"]
            state = {"state": result["state"]}
            interim = result.get("interim")
            open_s = interim["end_s"] - interim["start_s"] if interim else 0.0
            _take(played, result, took_s=took_s, due_s=due_s)
    return played


def _take(played: Played, result: dict[str, Any], *, took_s: float, due_s: float) -> None:
    for segment in result["segments"]:
        played.texts.append(segment["text"])
        if segment["reason"] == "pause":
            played.final_s.append(due_s + took_s - segment["words"][-1]["end_s"])
    if interim := result.get("interim"):
        played.interim_s.append(took_s)
        played.stable.append((interim["index"], interim["stable_text"].split()))


def play_together(url: str, audios: Sequence[bytes], *, decoder: str, hop_s: float) -> list[Played]:
    """Play streams side by side; their looks are spread over the hop, as those of strangers are."""
    count = len(audios)
    with ThreadPoolExecutor(count) as pool:
        running = [
            pool.submit(
                play, url, audio, decoder=decoder, hop_s=hop_s, delay_s=hop_s * place / count
            )
            for place, audio in enumerate(audios)
        ]
        return [each.result() for each in running]


def percentiles(values: Sequence[float], scale: float, digits: int) -> str:
    """The median and the 95th percentile."""
    return "/".join(f"{scale * x:.{digits}f}" for x in np.quantile(values, (0.5, 0.95)))


def value(metrics: str, name: str) -> float:
    """The value of a metric without labels."""
    return next(
        float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(f"{name} ")
    )
