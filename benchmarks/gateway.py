"""What the gateway costs beside the SDK's direct call, and what its cache saves.

    python -m benchmarks.gateway --size base

Starts asr-server with the demo checkpoint, then with one of random weights, and asr-gateway in
front of each, all idle otherwise. Prints Markdown tables: what one caller of the demo waits,
directly and through the gateway, taken in turn; an answer from the cache beside a computed one; and
the throughput of 16 callers of the other checkpoint, in turn too.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from asr_client import Client, Transcript
from benchmarks.checkpoint import SIZES, make_checkpoint
from tools.command import count, make_parser, run_main
from tools.local_gateway import local_gateway
from tools.local_server import local_server
from tools.machine import describe
from tools.markdown import head, row
from tools.recordings import read_pcm, transcripts, wav

RATE_HZ = 16_000
CLIP_S = 2.0
CACHED_S = (2, 10)
CALLERS = 16
CACHE_BYTES = 10_000_000
_BOUNDARY = "part-of-a-recording"


@dataclass(frozen=True)
class Answer:
    """One answer: its mark, its body, and the seconds from request to last byte."""

    mark: str
    body: bytes
    took_s: float


class Caller:
    """Sends recordings to a gateway over one connection.

    Args:
        address: its HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=600)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def transcribe(self, recording: bytes) -> Answer:
        """Send one recording.

        Raises:
            RuntimeError: it was not transcribed.
        """
        parts = [
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n',
            f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n',
        ]
        body = "".join(parts).encode() + recording + f"\r\n--{_BOUNDARY}--\r\n".encode()
        kind = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
        began_s = time.perf_counter()
        self._connection.request("POST", "/v1/audio/transcriptions", body, kind)
        answer = self._connection.getresponse()
        said = answer.read()
        took_s = time.perf_counter() - began_s
        if answer.status != 200:
            raise RuntimeError(f"the gateway answered {answer.status}: {said!r}")
        return Answer(answer.headers.get("x-asr-cache", "none"), said, took_s)


@contextlib.contextmanager
def gateway(server: str, *flags: str) -> Iterator[str]:
    """asr-gateway in front of a server, until the block ends; its HOST:PORT."""
    with (
        tempfile.TemporaryDirectory(prefix="gateway-") as folder,
        local_gateway(server, Path(folder), *flags) as started,
    ):
        yield started.address


def recordings(length_s: float, number: int) -> list[bytes]:
    """WAV files of real speech that differ in their last sample."""
    speech = b"".join(read_pcm(path)[0] for path, _ in sorted(transcripts()))
    size = 2 * round(length_s * RATE_HZ)
    pcm = (speech * (size // len(speech) + 1))[: size - 2]
    return [wav(pcm + value.to_bytes(2, "little"), RATE_HZ) for value in range(number)]


def latencies(client: Client, caller: Caller, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of direct calls and of calls through the gateway, taken in turn."""
    direct, through = [], []
    for recording in recordings(CLIP_S, rounds):
        began_s = time.perf_counter()
        client.transcribe(recording, timestamps="none", decoder="greedy")
        direct.append(time.perf_counter() - began_s)
        through.append(caller.transcribe(recording).took_s)
    return direct, through


def throughput(call: Callable[[int, bytes], object], seconds: float) -> float:
    """Seconds of audio answered in a second, with CALLERS callers.

    Args:
        call: sends a recording for the caller of a number.
        seconds: for how long calls are begun.
    """
    clip = recordings(CLIP_S, 1)[0]
    began_s = time.perf_counter()
    ends_s = began_s + seconds

    def work(number: int) -> int:
        for calls in itertools.count():
            if time.perf_counter() >= ends_s:
                return calls
            call(number, clip)
        raise AssertionError

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = sum(pool.map(work, range(CALLERS)))
    return CLIP_S * calls / (time.perf_counter() - began_s)


def throughputs(
    client: Client, address: str, rounds: int, seconds: float
) -> tuple[list[float], list[float]]:
    """Throughputs of direct calls and of calls through the gateway, taken in turn."""
    direct, through = [], []

    def directly(number: int, clip: bytes) -> Transcript:
        return client.transcribe(clip, timestamps="none", decoder="greedy")

    for _ in range(rounds):
        direct.append(throughput(directly, seconds))
        with contextlib.ExitStack() as stack:
            # New connections: the gateway closes those that are idle meanwhile.
            callers = [
                stack.enter_context(contextlib.closing(Caller(address))) for _ in range(CALLERS)
            ]

            def call(number: int, clip: bytes, callers: list[Caller] = callers) -> Answer:
                return callers[number].transcribe(clip)

            through.append(throughput(call, seconds))
    return direct, through


def cached(caller: Caller, length_s: float, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of computed answers and of cached ones, which are compared with them.

    Raises:
        RuntimeError: the cache did not answer, or answered otherwise.
    """
    computed, again = [], []
    for recording in recordings(length_s, rounds):
        first, second = caller.transcribe(recording), caller.transcribe(recording)
        if (first.mark, second.mark) != ("miss", "hit") or first.body != second.body:
            raise RuntimeError(f"the cache answered {first.mark}, then {second.mark}")
        computed.append(first.took_s)
        again.append(second.took_s)
    return computed, again


def main() -> int:
    """Measure, and print the tables."""
    parser = make_parser("benchmarks.gateway", __doc__)
    parser.add_argument("--build", type=Path, default=Path("build/benchmarks"), help="checkpoints")
    parser.add_argument("--size", choices=SIZES, default="base", help="shape of the network")
    parser.add_argument("--rounds", type=count, default=30, help="recordings of each length")
    parser.add_argument("--seconds", type=float, default=20.0, help="of one pass of 16 callers")
    options = parser.parse_args()
    greedy = "--decoder=greedy"
    print(describe(), flush=True)
    with (
        Path(os.devnull).open("wb") as quiet,
        local_server(log=quiet) as server,
        gateway(server.url, greedy) as address,
        Client(server.url) as client,
        contextlib.closing(Caller(address)) as caller,
    ):
        latencies(client, caller, 10)
        direct, through = latencies(client, caller, 10 * options.rounds)
        print(f"\nDemo, one caller, {CLIP_S:g} s, medians of {len(direct)} in turn\n")
        print(head("direct, ms", "through the gateway, ms", "difference, ms"))
        extra = statistics.median(b - a for a, b in zip(direct, through, strict=True))
        medians = [statistics.median(times) for times in (direct, through)]
        print(row(*(f"{1e3 * value:.1f}" for value in (*medians, extra))), flush=True)
    model = make_checkpoint(options.build / "checkpoints", options.size)
    with (
        Path(os.devnull).open("wb") as quiet,
        local_server(f"--model={model}", log=quiet) as server,
        gateway(server.url, greedy, f"--cache-bytes={CACHE_BYTES}") as address,
        Client(server.url, timeout_s=600) as client,
        contextlib.closing(Caller(address)) as caller,
    ):
        print(f"\n{options.size}'s shape, medians of {options.rounds}\n")
        print(head("length", "computed, ms", "cached, ms", "ratio"))
        for length_s in CACHED_S:
            found = cached(caller, length_s, options.rounds)
            computed_ms, cached_ms = (1e3 * statistics.median(times) for times in found)
            cells = f"{length_s} s", f"{computed_ms:.1f}", f"{cached_ms:.1f}"
            print(row(*cells, f"{computed_ms / cached_ms:.0f}"), flush=True)
    with (
        Path(os.devnull).open("wb") as quiet,
        local_server(f"--model={model}", log=quiet) as server,
        gateway(server.url, greedy) as address,
        Client(server.url, timeout_s=600) as client,
    ):
        throughputs(client, address, 1, options.seconds / 4)
        both = throughputs(client, address, 5, options.seconds)
        print(f"\n{options.size}'s shape, {CALLERS} callers, {CLIP_S:g} s; passes in turn\n")
        print(head("audio a second, direct", "through the gateway", "median ratio"))
        ratio = statistics.median(b / a for a, b in zip(*both, strict=True))
        shown = (", ".join(f"{rate:.1f}" for rate in rates) for rates in both)
        print(row(*shown, f"{ratio:.2f}"), flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
