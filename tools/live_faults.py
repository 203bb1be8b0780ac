"""Kills and stops what live streams need, and compares their finals with undisturbed ones.

    python -m tools.live_faults [--rounds 2] [--streams 8] [--faults front-killed client-still]

A row is one fault, on real servers of its own. In each round the streams play at once, in a process
of their own and in real time (`--speed`), and the fault comes at a random moment; a stream is a
trial. "Without a look" is the longest time between two answered looks of a stream. Sizes are taken
before the first fault and after the last one, each after undisturbed streams. Prints two Markdown
tables. The exit status is 1 if a final is lost, comes twice or is another one, if a stream fails or
skips audio, if memory has grown by a quarter, or if a process, slot or shared-memory region of the
servers, or a thread, task or file of the client, is more than there was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from asr_client.testing import FlakyNetwork
from tools.faults import is_whole, victim, wait_until
from tools.live_load import UNPACED, ClientSize, Played, Verdict, serve
from tools.local_server import LocalServer, free_ports, local_server
from tools.machine import describe
from tools.markdown import head, row
from tools.processes import child, memory_bytes, tree

FRONT = "transcribe_stream"
STILL_S = 20.0
"""How long the client's process stands still."""
MEMORY_GROWTH = 1.25
"""Of a server, or of the client; more is a failure."""
_FIRST_S, _LAST_S = 1.0, 12.0
"""When a fault comes, in seconds of a stream of about 19 s at speed 1."""
_WHOLE_S = 120.0
FINALS = (
    *("fault", "streams", "finals", "equal", "lost", "twice", "wrong", "resumed", "failed"),
    "without a look, median/max, s",
)
SIZES = (
    *("fault", "server, MB", "processes", "threads", "shared-memory regions", "slots"),
    *("client, MB", "client's threads", "tasks", "files"),
)


class Place:
    """The servers of a row, their networks, and the process with the streams.

    The streams go through a network only where the fault is one of it: a network takes connections
    that a server refuses, and the SDK waits longer for refused ones.
    """

    def __init__(self, stack: ExitStack, count: int, *, through_network: bool) -> None:
        self._ports = [free_ports(3) for _ in range(count)]
        self._running: list[ExitStack] = []
        self.servers: list[LocalServer] = []
        self.pids: set[int] = set()
        for number in range(count):
            self._running.append(ExitStack())
            stack.callback(lambda number=number: self._running[number].close())
            self.servers.append(self._start(number))
        self.networks = [stack.enter_context(FlakyNetwork(server.url)) for server in self.servers]
        ways = self.networks if through_network else self.servers
        addresses = [way.url for way in ways]
        self.pipe: Connection = stack.enter_context(child(serve, addresses))
        self.client: int = self.pipe.recv()

    def _start(self, number: int) -> LocalServer:
        log = self._running[number].enter_context(open(os.devnull, "wb"))  # noqa: SIM115
        ports = (self._ports[number][0], self._ports[number][1], self._ports[number][2])
        server = self._running[number].enter_context(
            local_server("--frontends=1", "--threads=1", log=log, ports=ports)
        )
        self.pids.add(server.process.pid)
        return server

    def destroy(self, number: int) -> None:
        """Kill all processes of a server."""
        for process in reversed(tree(self.servers[number].process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.servers[number].process.wait()

    def restore(self) -> None:
        """Start again what was destroyed, and wait until all processes are there."""
        for number, server in enumerate(self.servers):
            if server.process.poll() is not None:
                self._running[number].close()
                self._running[number] = ExitStack()
                self.servers[number] = self._start(number)
        for server in self.servers:
            assert wait_until(lambda server=server: is_whole(server), _WHOLE_S) < _WHOLE_S

    def play(self, seeds: list[int], speed: float) -> tuple[list[Played], ClientSize]:
        """Play streams without a fault."""
        self.pipe.send((seeds, speed))
        return self.played()

    def played(self) -> tuple[list[Played], ClientSize]:
        """What was played, once it has ended."""
        found: tuple[list[Played], ClientSize] = self.pipe.recv()
        return found


@dataclass(frozen=True, kw_only=True)
class ServerSize:
    """What the servers hold while nobody calls."""

    memory_bytes: int
    processes: int
    threads: int
    regions: int
    slots: float
    """Calls that wait, and windows in flight."""


def server_size(place: Place) -> ServerSize:
    """The sum over the servers, those that were destroyed included."""
    trees = [tree(server.process.pid) for server in place.servers]
    names = ("asr_windows_in_flight", "nv_inference_pending_request_count")
    lines = [line for server in place.servers for line in server.metrics().splitlines()]
    return ServerSize(
        memory_bytes=sum(memory_bytes(server.process.pid) for server in place.servers),
        processes=sum(len(processes) for processes in trees),
        threads=sum(process.num_threads() for processes in trees for process in processes),
        regions=sum(len(list(Path("/dev/shm").glob(f"asr-server-{pid}-*"))) for pid in place.pids),
        slots=sum(float(line.split()[-1]) for line in lines if line.startswith(names)),
    )


def _signal(name: str, number: signal.Signals) -> Callable[[Place], None]:
    def strike(place: Place) -> None:
        victim(random.choice(place.servers), name).send_signal(number)

    return strike


def _client_still(place: Place) -> None:
    os.kill(place.client, signal.SIGSTOP)
    try:
        time.sleep(STILL_S)
    finally:
        os.kill(place.client, signal.SIGCONT)


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    words: str
    servers: int
    strike: Callable[[Place], None]
    through_network: bool = False


FAULTS = {
    "none": Fault("none", 1, lambda place: None),
    "front-killed": Fault(f"a `{FRONT}` killed", 1, _signal(FRONT, signal.SIGKILL)),
    "front-still": Fault(f"a `{FRONT}` suspended", 1, _signal(FRONT, signal.SIGSTOP)),
    "network-killed": Fault("`wav2vec2` killed", 1, _signal("wav2vec2", signal.SIGKILL)),
    "network-still": Fault("`wav2vec2` suspended", 1, _signal("wav2vec2", signal.SIGSTOP)),
    "triton-killed": Fault("tritonserver killed", 1, _signal("tritonserver", signal.SIGKILL)),
    "server-killed": Fault(
        "one of two servers killed", 2, lambda place: place.destroy(random.randrange(2))
    ),
    "connections-reset": Fault(
        "all connections reset", 1, lambda place: place.networks[0].reset(), True
    ),
    "connections-silent": Fault(
        "all connections silent", 1, lambda place: place.networks[0].silence(), True
    ),
    "client-still": Fault(f"the client suspended for {STILL_S:.0f} s", 1, _client_still),
}


@dataclass
class Row:
    """What became of one kind of fault."""

    verdict: Verdict = field(default_factory=Verdict)
    longest_s: list[float] = field(default_factory=list)
    servers: list[ServerSize] = field(default_factory=list)
    clients: list[ClientSize] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, wrong or left."""
        verdict, (before, after), (began, ended) = self.verdict, self.servers, self.clients
        return (
            verdict.equal == verdict.streams
            and not verdict.failed
            and after.processes <= before.processes
            and after.regions <= before.regions
            and after.slots == 0
            and ended.tasks == 0
            and ended.threads <= began.threads
            and ended.files <= began.files
            and after.memory_bytes <= MEMORY_GROWTH * before.memory_bytes
            and ended.memory_bytes <= MEMORY_GROWTH * began.memory_bytes
        )


@contextmanager
def _place(fault: Fault) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack, fault.servers, through_network=fault.through_network)


def run(fault: Fault, *, rounds: int, streams: int, speed: float) -> Row:
    """All trials of one fault."""
    result = Row()
    seeds = list(range(streams))

    def measure() -> None:
        """Play without a fault: with interims, as memory depends on the lengths of looks."""
        played, size = place.play(seeds, speed)
        assert [each.finals for each in played] == [each.finals for each in expected]
        if result.servers:
            # Replaced processes end once their calls have ended.
            before = result.servers[0].processes
            wait_until(lambda: server_size(place).processes <= before, _WHOLE_S)
        result.servers.append(server_size(place))
        result.clients.append(size)

    with _place(fault) as place:
        # Finals do not depend on the looks, so these need not be paced.
        expected, _ = place.play(seeds, UNPACED)
        measure()
        for _ in range(rounds):
            place.pipe.send((seeds, speed))
            time.sleep(random.uniform(_FIRST_S, _LAST_S) / speed)
            fault.strike(place)
            played, _ = place.played()
            for each in played:
                result.verdict.add(each, expected[each.seed])
                result.longest_s.append(each.longest_s)
            place.restore()
        measure()
    return result


def _finals(fault: Fault, result: Row) -> str:
    verdict, names = result.verdict, FINALS[1:-1]
    return row(
        fault.words,
        *(str(getattr(verdict, name)) for name in names),
        f"{statistics.median(result.longest_s):.1f} / {max(result.longest_s):.1f}",
    )


def _sizes(fault: Fault, result: Row) -> str:
    def change(sizes: list[Any], name: str, unit: float = 1) -> str:
        return " / ".join(f"{getattr(size, name) / unit:.0f}" for size in sizes)

    return row(
        fault.words,
        change(result.servers, "memory_bytes", 1e6),
        *(change(result.servers, name) for name in ("processes", "threads", "regions", "slots")),
        change(result.clients, "memory_bytes", 1e6),
        *(change(result.clients, name) for name in ("threads", "tasks", "files")),
    )


def main() -> int:
    """Print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="faults a row")
    parser.add_argument("--streams", type=int, default=8, help="streams that share a fault")
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--speed", type=float, default=1.0, help="of the streams")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    args = parser.parse_args()
    random.seed(args.seed)
    print(f"{describe()}; seed {args.seed}\n\n{head(*FINALS)}")
    good, sizes = True, []
    for name in args.faults:
        result = run(FAULTS[name], rounds=args.rounds, streams=args.streams, speed=args.speed)
        good &= result.is_good
        print(_finals(FAULTS[name], result), flush=True)
        sizes.append(_sizes(FAULTS[name], result))
    print("\nBefore / after:\n\n" + "\n".join([head(*SIZES), *sizes]))
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
