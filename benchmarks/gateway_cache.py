"""What an answer from the gateway's cache costs beside a computed one.

    python -m benchmarks.gateway_cache --size base

Starts asr-server with a checkpoint of random weights and asr-gateway in front of it, both idle
otherwise. One caller on one kept connection sends each recording twice: new, then again. Prints a
Markdown table.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.checkpoint import SIZES, make_checkpoint
from tools.command import count, make_parser, run_main
from tools.local_server import free_ports, local_server
from tools.machine import describe
from tools.markdown import head, row
from tools.recordings import read_pcm, transcripts, wav

RATE_HZ = 16_000
LENGTHS_S = (2, 10)
CACHE_BYTES = 10_000_000
READY_S = 30.0
_BOUNDARY = "part-of-a-recording"
_POLL_S = 0.05


@dataclass(frozen=True)
class Answer:
    """One answer: its mark, its body, and the seconds from request to last byte."""

    mark: str
    body: bytes
    took_s: float


class Caller:
    """Sends recordings over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def is_ready(self) -> bool:
        """Whether the gateway and its asr-server are."""
        try:
            self._connection.request("GET", "/readyz")
            answer = self._connection.getresponse()
            answer.read()
        except OSError:
            self._connection.close()
            return False
        return answer.status == 200

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
def gateway(server: str, *flags: str) -> Iterator[Caller]:
    """asr-gateway with a cache, until the block ends."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="gateway-cache-") as folder:
        command = [
            str(Path(sys.executable).with_name("asr-gateway")),
            *(f"--server={server}", f"--http-port={port}", f"--cache-bytes={CACHE_BYTES}"),
            *(f"--store=sqlite:///{folder}/store.sqlite3", *flags),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        caller = Caller(port)
        try:
            yield _ready(caller)
        finally:
            caller.close()
            process.terminate()
            process.wait()


def _ready(caller: Caller) -> Caller:
    deadline = time.monotonic() + READY_S
    while not caller.is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the gateway was not ready within {READY_S:.0f} s")
        time.sleep(_POLL_S)
    return caller


def recordings(length_s: float, number: int) -> list[bytes]:
    """WAV files of real speech that differ in their last sample."""
    speech = b"".join(read_pcm(path)[0] for path, _ in sorted(transcripts()))
    size = 2 * round(length_s * RATE_HZ)
    pcm = (speech * (size // len(speech) + 1))[: size - 2]
    return [wav(pcm + value.to_bytes(2, "little"), RATE_HZ) for value in range(number)]


def measure(caller: Caller, length_s: float, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of computed answers and of cached ones, which are compared with them.

    Raises:
        RuntimeError: the cache did not answer, or answered otherwise.
    """
    computed, cached = [], []
    for recording in recordings(length_s, rounds):
        first, second = caller.transcribe(recording), caller.transcribe(recording)
        if (first.mark, second.mark) != ("miss", "hit") or first.body != second.body:
            raise RuntimeError(f"the cache answered {first.mark}, then {second.mark}")
        computed.append(first.took_s)
        cached.append(second.took_s)
    return computed, cached


def main() -> int:
    """Measure, and print the table."""
    parser = make_parser("benchmarks.gateway_cache", __doc__)
    parser.add_argument("--build", type=Path, default=Path("build/benchmarks"), help="checkpoints")
    parser.add_argument("--size", choices=SIZES, default="base", help="shape of the network")
    parser.add_argument("--rounds", type=count, default=30, help="recordings of each length")
    options = parser.parse_args()
    model = make_checkpoint(options.build / "checkpoints", options.size)
    with local_server(f"--model={model}") as server, gateway(server.url) as caller:
        print(describe())
        print(f"{options.size}'s shape, greedy, medians of {options.rounds}\n")
        print(head("length", "computed, ms", "cached, ms", "ratio"))
        for length_s in LENGTHS_S:
            found = measure(caller, length_s, options.rounds)
            computed_ms, cached_ms = (1e3 * statistics.median(times) for times in found)
            ratio = computed_ms / cached_ms
            print(
                row(f"{length_s} s", f"{computed_ms:.1f}", f"{cached_ms:.1f}", f"{ratio:.0f}"),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    run_main(main)
