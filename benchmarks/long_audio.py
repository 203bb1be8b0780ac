"""An hour of audio against its utterances: words, cost, memory, and the wait of short clips.

    python -m benchmarks.long_audio --minutes 60 --files 10

Starts a server of its own with the demo checkpoint and two fronts, and prints a Markdown table:

- by decoder, word error rate of the whole recording and of its utterances sent one by one;
- seconds of work for each second of audio: for a sixth of the recording six times, and for all of
  it, in turn;
- the fronts' anonymous memory above what they hold when idle: one recording, then all at once;
- latency of a 2 s clip on an idle server, while more long recordings than there are fronts arrive
  from another process, and while all of them are in progress; and the time of a full window on an
  idle server.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import av
import numpy as np
import numpy.typing as npt
import psutil

from asr_client import Client
from benchmarks.engine import in_seconds
from load_tests.run.corpus import Clip, build_corpus
from tools.command import make_parser, run_main
from tools.local_server import LocalServer, local_server
from tools.processes import repeated
from tools.word_errors import word_error_rate

RATE_HZ = 16_000
WINDOW_S = 20
FRONTS = 2
PAUSE_S = (0.5, 1.5)
MIB = 2**20
ROUNDS = 5
Decoder: TypeAlias = Literal["greedy", "beam"]
DECODERS: tuple[Decoder, ...] = ("greedy", "beam")
PROBES = 40

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A FLAC file and the utterances it is made of."""

    flac: bytes
    duration_s: float
    utterances: tuple[Clip, ...]

    @property
    def words(self) -> str:
        """The spoken words."""
        return " ".join(clip.words for clip in self.utterances)


def build_recording(duration_s: float, *, seed: int) -> Recording:
    """Join utterances of 1.5 to 20 s with pauses until the length is reached."""
    random = np.random.default_rng(seed)
    corpus = [c for c in build_corpus(seed=seed, mix={"sentences": 80}) if c.duration_s < WINDOW_S]
    parts: list[Pcm] = []
    utterances: list[Clip] = []
    left = round(duration_s * RATE_HZ)
    while left > 0:
        clip = corpus[random.integers(len(corpus))]
        parts += [pcm(clip), np.zeros(round(random.uniform(*PAUSE_S) * RATE_HZ), np.int16)]
        utterances.append(clip)
        left -= len(parts[-1]) + len(parts[-2])
    samples = np.concatenate(parts)
    return Recording(
        flac=flac(samples), duration_s=len(samples) / RATE_HZ, utterances=tuple(utterances)
    )


def pcm(clip: Clip) -> Pcm:
    """A corpus clip's samples, int16 [samples] at 16 kHz."""
    return np.frombuffer(clip.audio, np.int16, offset=44)


def flac(samples: Pcm) -> bytes:
    """A FLAC file of int16 [samples]."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream: Any = container.add_stream("flac", rate=RATE_HZ, layout="mono")
        for start in range(0, len(samples), RATE_HZ):
            frame = av.AudioFrame.from_ndarray(
                samples[None, start : start + RATE_HZ], format="s16", layout="mono"
            )
            frame.sample_rate = RATE_HZ
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def anonymous_mib(process: psutil.Process) -> float:
    """Anonymous resident memory, in MiB: not the pages shared with Triton or files."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024


@contextmanager
def peak_above(
    idle: dict[psutil.Process, float],
) -> Iterator[list[float]]:
    """The maximum MiB of a process above its idle figure while the block runs."""
    peak = [0.0]

    def look() -> None:
        peak[0] = max(peak[0], *(anonymous_mib(p) - before for p, before in idle.items()))

    with repeated(look, 0.05):
        yield peak


def latency(client: Client, clip: bytes) -> float:
    """Seconds that a clip takes."""
    return in_seconds(lambda: client.transcribe(clip))


def latencies(client: Client, clip: bytes) -> list[float]:
    """Seconds that a clip takes, `PROBES` times one after the other."""
    return [latency(client, clip) for _ in range(PROBES)]


def send_together(url: str, flac: bytes, count: int) -> list[str]:
    """The texts of a recording that is sent several times at once."""
    with Client(url, timeout_s=3600) as client, ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: client.transcribe(flac).text, range(count)))


def in_progress(fronts: Sequence[psutil.Process]) -> int:
    """Large recordings in progress: each is a file without a name that a front has mapped."""
    return sum(Path(f"/proc/{front.pid}/maps").read_text().count("(deleted)") for front in fronts)


def measure(server: LocalServer, whole: Recording, part: Recording, files: int) -> Iterator[str]:
    """Yield the rows of the table as they are known."""
    fronts = server.stubs("transcribe")
    with Client(server.url, timeout_s=3600) as client:
        client.transcribe(whole.utterances[0].audio)
        idle = {front: anonymous_mib(front) for front in fronts}
        for decoder in DECODERS:
            yield from _one(client, whole, idle, decoder)
        yield from _cost(client, whole, part)
        yield from _crowd(client, whole, files, idle)


def _one(
    client: Client, whole: Recording, idle: dict[psutil.Process, float], decoder: Decoder
) -> Iterator[str]:
    started = time.perf_counter()
    with peak_above(idle) as peak:
        text = client.transcribe(whole.flac, decoder=decoder).text
    cost_ms = 1000 * (time.perf_counter() - started) / whole.duration_s
    by_name = {clip.name: clip for clip in whole.utterances}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda clip: client.transcribe(clip.audio, decoder=decoder).text, by_name.values()
        )
        texts = dict(zip(by_name, answers, strict=True))
    alone = " ".join(texts[clip.name] for clip in whole.utterances).lower()
    rates = [word_error_rate([(whole.words, each)]) for each in (text.lower(), alone)]
    yield f"{decoder}: word error rate of the whole | {rates[0]:.4f}"
    yield f"{decoder}: word error rate of its utterances one by one | {rates[1]:.4f}"
    yield f"{decoder}: work for a second of audio, the whole once | {cost_ms:.2f} ms"
    yield f"{decoder}: front's anonymous memory above idle, one recording | {peak[0]:.0f} MiB"


def _cost(client: Client, whole: Recording, part: Recording) -> Iterator[str]:
    """Both take equally long within a round, so that other work on the machine affects both."""
    costs: dict[str, list[float]] = {"a sixth of it": [], "the whole": []}
    for _ in range(ROUNDS):
        for name, recording, times in (("a sixth of it", part, 6), ("the whole", whole, 1)):
            took_s = sum(latency(client, recording.flac) for _ in range(times))
            costs[name].append(took_s / (times * recording.duration_s))
    for name, values in costs.items():
        yield f"work for a second of audio, {name} | {1000 * statistics.median(values):.2f} ms"
    ratios = [whole / part for part, whole in zip(*costs.values(), strict=True)]
    yield (
        f"whole to sixth, median, minimum and maximum of {ROUNDS} rounds | "
        f"{statistics.median(ratios):.3f}, {min(ratios):.3f}, {max(ratios):.3f}"
    )


def _crowd(
    client: Client, whole: Recording, files: int, idle: dict[psutil.Process, float]
) -> Iterator[str]:
    clip = _clip(whole.utterances, 2)
    window_s = statistics.median(latencies(client, _clip(whole.utterances, WINDOW_S)))
    fronts = list(idle)
    others = in_progress(fronts)
    beside: dict[str, list[float]] = {"alone": latencies(client, clip)}
    # Another process, so that the sender's work does not slow down the probes.
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as sender,
        peak_above(idle) as peak,
    ):
        # A first call, so that the process has started when the recordings are sent.
        sender.submit(send_together, client.url, clip, 1).result()
        texts = sender.submit(send_together, client.url, whole.flac, files)
        arriving = beside[f"while {files} long recordings arrive"] = [latency(client, clip)]
        while in_progress(fronts) - others < files and not texts.done():
            arriving.append(latency(client, clip))
        beside[f"beside {files} long recordings"] = latencies(client, clip)
        if in_progress(fronts) - others < files:
            raise SystemExit("a recording ended before the probes did: give more --minutes")
        if len(set(texts.result())) > 1:
            raise SystemExit("the same recording had different transcripts")
    yield f"front's anonymous memory above idle, {files} recordings at once | {peak[0]:.0f} MiB"
    yield f"a full window of {WINDOW_S} s alone | {1000 * window_s:.0f} ms"
    yield f"{files} recordings arrive within | {sum(arriving):.1f} s"
    for name, values in beside.items():
        yield (
            f"a 2 s clip {name}, median and longest of {len(values)} | "
            f"{1000 * statistics.median(values):.0f} and {1000 * max(values):.0f} ms"
        )


def _clip(utterances: Sequence[Clip], length_s: int) -> bytes:
    samples = np.concatenate([pcm(clip) for clip in utterances])
    return flac(samples[: length_s * RATE_HZ])


def main() -> int:
    """Print the table."""
    parser = make_parser("benchmarks.long_audio", __doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of the long recording")
    parser.add_argument("--files", type=int, default=10, help="long recordings at once")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    whole = build_recording(60 * arguments.minutes, seed=arguments.seed)
    part = build_recording(10 * arguments.minutes, seed=arguments.seed)
    print(
        f"| a FLAC of {whole.duration_s:.0f} s and {len(whole.flac) / MIB:.0f} MiB | |\n|---|---|"
    )
    with open(os.devnull, "wb") as log, local_server(f"--frontends={FRONTS}", log=log) as server:
        for row in measure(server, whole, part, arguments.files):
            print(f"| {row} |", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
