"""The processes that the Python backend runs the models in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Stub:
    """One model instance's process.

    Attributes:
        process: its handle, which a later process of the same number is not taken for.
        model: the model's name.
        region: the name of its shared-memory region.
    """

    process: psutil.Process
    model: str
    region: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self.process.pid)

    def is_alive(self) -> bool:
        """Whether it runs: a zombie does not."""
        try:
            return bool(self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def cpu_s(self) -> float:
        """Seconds of processor time it has used."""
        try:
            times = self.process.cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(psutil.Error):
            self.process.kill()


def find_stubs(server: psutil.Process, repository: Path) -> list[Stub]:
    """The living stubs of a tritonserver that serves `repository`.

    A stub's command line is: its program, the path of model.py, the name of its shared-memory
    region, two sizes, the server's id, the backend's folder, a number, the instance's name.
    """
    try:
        children = server.children(recursive=True)
    except psutil.Error:
        return []
    stubs = []
    for process in children:
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if len(line) > 2 and line[0].endswith("triton_python_backend_stub"):
            with contextlib.suppress(ValueError):
                model = Path(line[1]).relative_to(repository).parts[0]
                stubs.append(Stub(process, model, line[2]))
    return stubs
