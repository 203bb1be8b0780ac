"""The time until a killed process of each model is replaced, and the time of a server's start.

    python -m benchmarks.healing

Starts servers of its own, idle, with one `wav2vec2` and two fronts, and prints a Markdown table.
Healing is counted from SIGKILL until `/readyz` says ready again.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator

import psutil

from tools.command import make_parser, run_main
from tools.local_server import LocalServer, local_server
from tools.machine import describe
from tools.markdown import head, row

MODELS = ("wav2vec2", "transcribe")
STARTS = 3
LONGEST_S = 120.0
_POLL_S = 0.02


def newest(server: LocalServer, model: str) -> psutil.Process:
    """A model's newest process: after a heal an older one may still finish its requests."""
    return max(server.stubs(model), key=psutil.Process.create_time)


def wait_for(server: LocalServer, *, ready: bool) -> None:
    """Return when the health endpoint reports it."""
    deadline = time.perf_counter() + LONGEST_S
    while (server.health()[1].get("state") == "ready") is not ready:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not {'ready' if ready else 'noticed'} within {LONGEST_S:.0f} s")
        time.sleep(_POLL_S)


def heal_s(server: LocalServer, model: str) -> float:
    """Kill a process; seconds until it is replaced."""
    victim = newest(server, model)
    started = time.perf_counter()
    victim.kill()
    wait_for(server, ready=False)
    wait_for(server, ready=True)
    return time.perf_counter() - started


def rows(kills: int) -> Iterator[tuple[str, list[float]]]:
    """The name and the seconds of each row."""
    starts = []
    for _ in range(STARTS):
        started = time.perf_counter()
        with open(os.devnull, "wb") as log, local_server("--frontends=2", log=log) as server:
            starts.append(time.perf_counter() - started)
            if len(starts) == STARTS:
                healed = {model: [heal_s(server, model) for _ in range(kills)] for model in MODELS}
    yield "start of the server, both models loaded", starts
    for model, values in healed.items():
        yield f"a killed `{model}` replaced", values


def main() -> int:
    """Print the table."""
    parser = make_parser("benchmarks.healing", __doc__)
    parser.add_argument(
        "--kills", type=int, default=3, help="of each model; the server pauses before a fourth heal"
    )
    arguments = parser.parse_args()
    print(f"{describe()}\n\n{head('', 'median, s', 'longest, s')}")
    for name, values in rows(arguments.kills):
        median, longest = statistics.median(values), max(values)
        print(row(name, f"{median:.1f}", f"{longest:.1f}"), flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
