"""What streams wait alone, beside recordings, and when there are too many of them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import psutil

from benchmarks.live.files import File, in_progress
from benchmarks.live.streams import (
    FRAME_BYTES,
    RATE_HZ,
    Played,
    percentiles,
    play_together,
    talk,
    value,
)
from tools.local_server import LocalServer
from tools.markdown import head, row
from tools.processes import cpu_s, memory_bytes

P95_BAR_MS = 250.0
BESIDE_BAR = 2.5
"""The greatest p95 beside recordings, over the one without."""
WARM_UP_S = 8
MIB = 2**20
COLUMNS = (
    *("network", "streams", "recordings beside", "interim p50/p95, ms", "p95, over alone"),
    *("looks/s of a stream", "recordings, s of audio a second", "failed looks", "other work"),
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network, and how many streams it should hold on two cores."""

    name: str
    hop_s: float
    streams: int
    more_streams: tuple[int, ...] = ()
    """Measured alone, too."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Recordings beside the streams."""

    name: str
    file: File
    count: int


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a cell."""

    played: list[Played]
    seconds: float
    file_s: float
    """Seconds of audio that the network computed for recordings."""
    other_cores: float
    """Cores that other programs used."""
    memory_growth: float
    """Bytes that the server's processes grew by in the second half."""

    @property
    def p95_s(self) -> float:
        """Of the interims."""
        return float(np.quantile([x for one in self.played for x in one.interim_s], 0.95))


@dataclass(kw_only=True)
class Cell:
    """Streams, recordings beside them, and its turns."""

    network: Network
    streams: int
    beside: Beside | None = None
    turns: list[Turn] = field(default_factory=list)

    def file_rate(self) -> float:
        """Seconds of recordings a second: the median of the turns."""
        return statistics.median(turn.file_s / turn.seconds for turn in self.turns)

    def ratio(self, alone: Cell) -> float:
        """Its p95 over that of the other cell: the median of `ratios`."""
        return statistics.median(self.ratios(alone))

    def ratios(self, alone: Cell) -> list[float]:
        """Its p95 over that of the other cell, in each round; the last one if it has one turn."""
        turns = alone.turns[-len(self.turns) :]
        return [mine.p95_s / other.p95_s for mine, other in zip(self.turns, turns, strict=True)]

    @property
    def looks_a_second(self) -> float:
        """Looks of one stream a second, answered or not."""
        looks = sum(one.looks for turn in self.turns for one in turn.played)
        return looks / self.streams / sum(turn.seconds for turn in self.turns)


def lines(
    server: LocalServer,
    network: Network,
    besides: Sequence[Beside],
    many: Beside,
    *,
    seconds: float,
    rounds: int,
    log: Callable[[str], None],
) -> Iterator[str]:
    """The rows of one network and the verdicts on them.

    Cells take turns within a round.

    Args:
        server: with this network.
        network: what it should hold.
        besides: recordings to transcribe beside its streams.
        many: more of the first of these recordings.
        seconds: of each turn.
        rounds: of all cells but those of more streams and many recordings, which have one turn.
        log: takes lines about the progress.
    """
    alone = Cell(network=network, streams=network.streams)
    with_files = [Cell(network=network, streams=network.streams, beside=one) for one in besides]
    files_alone = [Cell(network=network, streams=0, beside=one) for one in besides]
    beside_many = Cell(network=network, streams=network.streams, beside=many)
    more = [Cell(network=network, streams=count) for count in network.more_streams]
    crowd = Cell(network=network, streams=2 * network.streams)
    _warm_up(server)
    for cells in (*([[alone, *with_files, *files_alone]] * rounds), [beside_many, *more, crowd]):
        for cell in cells:
            cell.turns.append(_turn(server, cell, seconds if cell.streams else seconds / 3))
            log(_row(cell, None))
    yield _row(alone, None)
    for cell in (*with_files, beside_many, *files_alone, *more, crowd):
        yield _row(cell, alone)
    yield ""
    for cell in (alone, *more):
        yield f"- {_latency_verdict(cell)}"
    for cell, files in zip(with_files, files_alone, strict=True):
        yield f"- {_beside_verdict(cell, alone, files)}"
    yield f"- {_beside_verdict(beside_many, alone, files_alone[0])}"
    yield f"- {_crowd_verdict(crowd, alone)}"
    yield ""


def heading() -> str:
    """The head of the table."""
    return head(*COLUMNS)


def _warm_up(server: LocalServer) -> None:
    """Many lengths of windows: OpenVINO is slow at the first of each."""
    audio = talk(0)[0][: WARM_UP_S * RATE_HZ * FRAME_BYTES]
    play_together(server.url, [audio] * 2, decoder="greedy", hop_s=0.1)


def _turn(server: LocalServer, cell: Cell, seconds: float) -> Turn:
    count = round(seconds * RATE_HZ) * FRAME_BYTES
    audios = [talk(seed)[0][:count] for seed in range(cell.streams)]
    memory: list[int] = []
    with ExitStack() as stack:
        if cell.beside is not None:
            stack.enter_context(in_progress(server, cell.beside.file, cell.beside.count))
        half = threading.Timer(seconds / 2, lambda: memory.append(memory_bytes(server.process.pid)))
        half.start()
        heard_s, other_s, began = _file_s(server), _other_s(server), time.monotonic()
        if audios:
            hop_s = cell.network.hop_s
            played = play_together(server.url, audios, decoder="greedy", hop_s=hop_s)
        else:
            played = []
            time.sleep(seconds)
        took_s = time.monotonic() - began
        half.join()
        return Turn(
            played=played,
            seconds=took_s,
            file_s=_file_s(server) - heard_s,
            other_cores=(_other_s(server) - other_s) / took_s,
            memory_growth=memory_bytes(server.process.pid) - memory[0],
        )


def _file_s(server: LocalServer) -> float:
    """Seconds of audio of recordings that the network has computed."""
    page = server.metrics()
    return value(page, "asr_audio_seconds_total") - value(page, "asr_stream_computed_seconds_total")


def _other_s(server: LocalServer) -> float:
    """Processor seconds of all programs but the server and this one."""
    times = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    return float(
        sum(times)
        - times.idle
        - times.iowait
        - times.guest
        - times.guest_nice
        - cpu_s(server.process.pid)
        - own.user
        - own.system
    )


def _row(cell: Cell, alone: Cell | None) -> str:
    played = list(chain.from_iterable(turn.played for turn in cell.turns))
    interims = list(chain.from_iterable(one.interim_s for one in played))
    beside = cell.beside
    return row(
        f"{cell.network.name}, hop {cell.network.hop_s} s",
        cell.streams,
        f"{beside.count} of {beside.name}" if beside else "none",
        percentiles(interims, 1000, 0) if played else "",
        f"{cell.ratio(alone):.2f}" if alone and played and beside else "",
        f"{cell.looks_a_second:.2f}" if played else "",
        f"{cell.file_rate():.1f}" if beside else "",
        sum(one.failed for one in played),
        f"{100 * statistics.median(turn.other_cores for turn in cell.turns):.0f} % of a core",
    )


def _latency_verdict(cell: Cell) -> str:
    p95_ms = 1000 * statistics.median(turn.p95_s for turn in cell.turns)
    return (
        f"{cell.network.name}, {cell.streams} streams: p95 is {p95_ms / P95_BAR_MS:.2f} times "
        f"{P95_BAR_MS:.0f} ms: {_met(p95_ms <= P95_BAR_MS)}."
    )


def _beside_verdict(cell: Cell, alone: Cell, files: Cell) -> str:
    assert cell.beside is not None
    assert files.beside is not None
    ratio = cell.ratio(alone)
    ratios = ", ".join(f"{each:.2f}" for each in cell.ratios(alone))
    return (
        f"{cell.network.name}, {cell.streams} streams beside {cell.beside.count} of "
        f"{cell.beside.name}: p95 is {ratio:.2f} times that of no recordings (by round {ratios}), "
        f"at most {BESIDE_BAR}: {_met(ratio <= BESIDE_BAR)}; the recordings have "
        f"{cell.file_rate() / files.file_rate():.0%} of the speed that {files.beside.count} have "
        "without streams."
    )


def _crowd_verdict(crowd: Cell, alone: Cell) -> str:
    (turn,) = crowd.turns
    failed = sum(one.failed for one in turn.played)
    return (
        f"{crowd.network.name}, {crowd.streams} streams, twice as many: {failed} looks fail: "
        f"{_met(not failed)}; a stream looks {crowd.looks_a_second / alone.looks_a_second:.2f} "
        f"times as often; the server's memory changes by {turn.memory_growth / MIB:+.0f} MiB in "
        "the second half."
    )


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"
