"""Processor time of the service by kind of process, beside its engine without a server.

    python -m benchmarks.processor_time --beside /path/of/another/commit/.venv/bin/asr-server

Starts asr-server and the offline engine with the same checkpoint, and sends the clips of each mix
to both in turn: 16 callers of the server, 16 clips in a call of the engine. Prints a Markdown table
of processor seconds for a second of audio, for each of the server's kinds of processes; then the
same for a server that nobody calls, in percent of one core; then, with the demo checkpoint,
milliseconds for a call of one second, whose network takes little. `--beside` measures another
server in turn with this one.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.__main__ import BUILD
from benchmarks.cells import Cell
from benchmarks.checkpoint import SIZES, make_checkpoint
from benchmarks.clips import MIXES, Clip, commands
from benchmarks.systems import offline_engine
from benchmarks.systems.base import System
from benchmarks.systems.offline import Offline
from benchmarks.systems.service import Service
from tools.command import count, make_parser, run_main, seconds
from tools.local_server import ROLES
from tools.machine import describe
from tools.markdown import table

CALLERS = 16
CLIPS: Mapping[str, int] = {"librispeech": 8, "commands": 16}
"""How many of each mix."""
PARTS = ("mixes", "idle", "calls")
DEMO_CALLS = 100


@dataclass
class Used:
    """Processor seconds of some passes by role; one process without a server has one role."""

    audio_s: float = 0.0
    by_role: dict[str, float] = field(default_factory=dict)
    rounds: list[float] = field(default_factory=list)
    """Of each pass, for a second of audio."""

    def add(self, audio_s: float, by_role: Mapping[str, float]) -> None:
        """Count one pass."""
        self.audio_s += audio_s
        self.rounds.append(sum(by_role.values()) / audio_s)
        for role, used_s in by_role.items():
            self.by_role[role] = self.by_role.get(role, 0.0) + used_s

    def share(self, role: str) -> float:
        """Processor seconds of a role for a second of audio."""
        return self.by_role.get(role, 0.0) / self.audio_s


def cpu_since(server: Service, before: Mapping[str, float]) -> dict[str, float]:
    """Processor seconds of a server by role since an earlier look."""
    return {role: value - before[role] for role, value in cpu(server).items()}


def cpu(server: Service) -> dict[str, float]:
    """Processor seconds of a server by role."""
    assert server.server is not None
    return server.server.cpu_s()


def measure_mix(
    running: Mapping[System, int], clips: Sequence[Clip], rounds: int
) -> dict[System, Used]:
    """Send the clips to each system in turn, `rounds` times after a first that does not count."""
    cells = [
        Cell(system=system, pid=pid, at_once=CALLERS, mix="") for system, pid in running.items()
    ]
    used = {system: Used() for system in running}
    for number in range(rounds + 1):
        for cell in cells:
            system = cell.system
            before = cpu(system) if isinstance(system, Service) else {}
            cell.run_pass(clips)
            done = cell.passes[-1]
            if errors := [call.error for call in done.calls if call.error]:
                raise SystemExit(f"{system.name}: a call failed: {errors[0]}")
            by_role = {"engine": done.cpu_s}
            if isinstance(system, Service):
                by_role = cpu_since(system, before)
            if number:
                used[system].add(done.audio_s, by_role)
    return used


def mix_table(used: Mapping[System, Used]) -> str:
    """A row for each system; the last column is the median of the rounds' ratios."""
    alone = next(each for system, each in used.items() if isinstance(system, Offline))
    rows = []
    for system, each in used.items():
        pairs = zip(each.rounds, alone.rounds, strict=True)
        ratio = statistics.median(mine / engine for mine, engine in pairs)
        total = statistics.median(each.rounds)
        shares = [
            f"{1000 * each.share(role):.2f}" if role in each.by_role else "" for role in ROLES
        ]
        rows.append((system.name, *shares, f"{1000 * total:.2f}", f"{ratio:.3f}"))
    titles = ("ms of a core for a second of audio", *ROLES, "all", "all / engine alone")
    return table(titles, rows, numbers=True)


def idle_table(servers: Sequence[Service], idle_s: float) -> str:
    """Percent of one core that servers use while nobody calls them."""
    before = {server: cpu(server) for server in servers}
    time.sleep(idle_s)
    rows = []
    for server in servers:
        used_s = cpu_since(server, before[server])
        percent = [100 * value / idle_s for value in (*used_s.values(), sum(used_s.values()))]
        rows.append((server.name, *(f"{value:.2f}" for value in percent)))
    return table(("% of a core, idle", *ROLES, "all"), rows, numbers=True)


def calls_table(servers: Sequence[Service], rounds: int) -> str:
    """Milliseconds of a core for a call of one second, one caller, servers in turn."""
    clip = commands(1, seed=0)[0].wav
    used: dict[Service, list[dict[str, float]]] = {server: [] for server in servers}
    for number in range(rounds + 1):
        for server in servers:
            before = cpu(server)
            for _ in range(DEMO_CALLS):
                server.call([clip])
            if number:
                used[server].append(cpu_since(server, before))
    rows = []
    for server, each in used.items():
        ms = {role: 1000 * statistics.median(one[role] for one in each) for role in ROLES}
        values = [ms[role] / DEMO_CALLS for role in ROLES]
        rows.append((server.name, *(f"{value:.2f}" for value in (*values, sum(values)))))
    return table(("ms of a core a call, demo", *ROLES, "all"), rows, numbers=True)


@contextlib.contextmanager
def started(systems: Sequence[System], checkpoint: Path) -> Iterator[dict[System, int]]:
    """Start systems; yields the id of each one's first process."""
    with contextlib.ExitStack() as stack:
        running = {}
        for system in systems:
            stack.callback(system.stop)
            work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            running[system] = system.start(checkpoint, work)
        yield running


def make_services(beside: Path | None) -> list[Service]:
    """The server beside this Python, and another one."""
    services = [Service(precision="auto", at_once=(CALLERS,))]
    if beside is not None:
        services.append(Service(precision="auto", at_once=(CALLERS,), program=beside))
        services[-1].name = "the server beside it"
    return services


def report(options: argparse.Namespace) -> Iterator[str]:
    """The tables, as they are known."""
    if {"mixes", "idle"} & set(options.parts):
        checkpoint = make_checkpoint(BUILD / "checkpoints", options.size)
        services = make_services(options.beside)
        engine = Offline(
            offline_engine.NAME.format("auto"),
            offline_engine.load,
            setting="auto",
            at_once=(CALLERS,),
            is_peer=False,
        )
        with started([*services, engine], checkpoint) as running:
            if "mixes" in options.parts:
                for name, number in CLIPS.items():
                    clips = MIXES[name](number, 0)
                    yield f"{name}:\n\n{mix_table(measure_mix(running, clips, options.rounds))}"
            if "idle" in options.parts:
                yield idle_table(services, options.idle_s)
    if "calls" in options.parts:
        from asr_backend.checkpoint.description import demo_checkpoint

        services = make_services(options.beside)
        with started(services, demo_checkpoint()):
            yield calls_table(services, options.rounds)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables."""
    parser = make_parser("benchmarks.processor_time", __doc__)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    add("--beside", type=Path, help="another asr-server, measured in turn")
    add("--rounds", type=count, default=5, help="passes that count")
    add("--idle-s", type=seconds, default=20.0, help="how long to watch an idle server")
    add("--size", choices=SIZES, default="base", help="of the network")
    print(describe(), flush=True)
    for part in report(parser.parse_args(arguments)):
        print(f"\n{part}", flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
