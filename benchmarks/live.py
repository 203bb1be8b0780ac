"""Live recognition: latency, work and words of streams that play in real time.

    python -m benchmarks.live

Starts a server of its own. Each stream plays the six recordings of tests/data in another order,
with pauses and faint noise between, and looks every max(0.4 s, 0.1 x the open segment). A row is
one number of streams. Latencies are counted from when the newest sample of a look was spoken; that
of a final also contains the pause that ends it.
"""

from __future__ import annotations

import json
import os
import struct
import time
import wave
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tools.command import make_parser, run_main
from tools.local_server import local_server
from tools.machine import describe
from tools.markdown import head, row
from tools.word_errors import word_error_rate

DATA = Path(__file__).parents[1] / "tests" / "data"
RATE_HZ = 16_000
HOP_S, GROWTH = 0.4, 0.1
PCM: dict[str, Any] = {"encoding": "pcm_s16le", "sample_rate": RATE_HZ, "channels": 1}
COLUMNS = (
    *("streams", "decoder", "interim p50/p95, ms", "last word to final p50/p95, s", "looks/s"),
    *("computed s a live s", "kB/s sent", "stable words wrong", "WER", "WER of the file"),
)


@dataclass
class Played:
    """What one stream found."""

    interim_s: list[float] = field(default_factory=list)
    final_s: list[float] = field(default_factory=list)
    looks: int = 0
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


def call(stub: Any, model: str, audio: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """RESULT of one call."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.outputs.add(name="RESULT")
    for name, value in (("AUDIO", audio), ("OPTIONS", json.dumps(options).encode())):
        request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(struct.pack("<I", len(value)) + value)
    result: dict[str, Any] = json.loads(
        stub.ModelInfer(request, timeout=60).raw_output_contents[0][4:]
    )
    return result


def play(url: str, audio: bytes, decoder: str) -> Played:
    """Play a stream in real time."""
    played = Played()
    began = time.monotonic()
    consumed = heard = 0
    state: dict[str, str] = {}
    open_s = 0.0
    with grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while heard < len(audio):
            due_s = min(heard / 2 / RATE_HZ + max(HOP_S, GROWTH * open_s), len(audio) / 2 / RATE_HZ)
            time.sleep(max(0.0, due_s - (time.monotonic() - began)))
            heard = min(2 * int((time.monotonic() - began) * RATE_HZ), len(audio))
            is_last = heard == len(audio)
            options = {**PCM, "decoder": decoder, **state, "end": is_last}
            result = call(stub, "transcribe_stream", audio[consumed:heard], options)
            took_s = time.monotonic() - began - heard / 2 / RATE_HZ
            played.looks += 1
            played.sent_bytes += heard - consumed
            consumed += result["consumed_bytes"]
            state = {"state": result["state"]}
            for segment in result["segments"]:
                played.texts.append(segment["text"])
                if segment["reason"] == "pause":
                    last_s = segment["words"][-1]["end_s"]
                    played.final_s.append(heard / 2 / RATE_HZ + took_s - last_s)
            interim = result.get("interim")
            open_s = interim["end_s"] - interim["start_s"] if interim else 0.0
            if interim:
                played.interim_s.append(took_s)
                played.stable.append((interim["index"], interim["stable_text"].split()))
    return played


def wrong_stable(played: Sequence[Played]) -> float:
    """The share of stable words shown that their final does not have at their place."""
    shown = wrong = 0
    for one in played:
        finals = dict(enumerate(text.split() for text in one.texts))
        for index, words in one.stable:
            final = finals.get(index, [])
            shown += len(words)
            wrong += sum(final[place : place + 1] != [word] for place, word in enumerate(words))
    return wrong / max(1, shown)


def value(metrics: str, name: str) -> float:
    """The value of a metric without labels."""
    return next(
        float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(f"{name} ")
    )


def percentiles(values: Sequence[float], scale: float, digits: int) -> str:
    """The median and the 95th percentile."""
    return "/".join(f"{scale * x:.{digits}f}" for x in np.quantile(values, (0.5, 0.95)))


def rows(server: Any, streams: Sequence[int], decoders: Sequence[str]) -> Iterator[str]:
    """The rows of the table."""
    names = ("asr_stream_computed_seconds_total", "asr_stream_audio_seconds_total")
    for decoder in decoders:
        for count in streams:
            talks = [talk(seed) for seed in range(count)]
            before = server.metrics()
            with ThreadPoolExecutor(count) as pool:
                played = list(
                    pool.map(lambda one: play(server.url, one[0], decoder), talks)  # noqa: B023
                )
            after = server.metrics()
            computed, live = (value(after, name) - value(before, name) for name in names)
            seconds = sum(len(audio) for audio, _ in talks) / 2 / RATE_HZ
            with grpc.insecure_channel(server.url) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                options = {**PCM, "decoder": decoder}
                whole = [call(stub, "transcribe", audio, options)["text"] for audio, _ in talks]
            words = [text for _, text in talks]
            found = [" ".join(one.texts) for one in played]
            yield row(
                *(str(count), decoder),
                percentiles([x for one in played for x in one.interim_s], 1000, 0),
                percentiles([x for one in played for x in one.final_s], 1, 2),
                f"{sum(one.looks for one in played) / seconds:.1f}",
                f"{computed / live:.2f}",
                f"{sum(one.sent_bytes for one in played) / seconds / 1000:.0f}",
                f"{wrong_stable(played):.3f}",
                f"{word_error_rate(zip(words, found, strict=True)):.3f}",
                f"{word_error_rate(zip(words, whole, strict=True)):.3f}",
            )


def main() -> int:
    """Print the table."""
    parser = make_parser("benchmarks.live", __doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--decoders", nargs="+", default=["greedy", "beam"])
    arguments = parser.parse_args()
    print(f"{describe()}\n\n{head(*COLUMNS)}")
    with open(os.devnull, "wb") as log, local_server("--frontends=1", log=log) as server:
        for line in rows(server, arguments.streams, arguments.decoders):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
