"""The processes that the Python backend runs the models in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil

from asr_backend.server.prepare.run_directory import SHARED_MEMORY, RunDirectory
from asr_backend.triton_io.progress import Signs, read_signs


@dataclass(frozen=True)
class Stub:
    """One model instance's process.

    Attributes:
        process: its handle; a later process with the same id does not match it.
        model: the model's name.
        region: the name of its shared-memory region.
        progress: the file with its signs of life.
    """

    process: psutil.Process
    model: str
    region: str
    progress: Path

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

    def signs(self) -> Signs | None:
        """Its signs of life, None if it writes none."""
        return read_signs(self.progress)

    def release(self) -> None:
        """Removes the files that a dead instance left in shared memory."""
        for left in (SHARED_MEMORY / self.region, self.progress):
            left.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kills it."""
        with contextlib.suppress(psutil.Error):
            self.process.kill()


def find_stubs(server: psutil.Process, run: RunDirectory) -> list[Stub]:
    """The living stubs of a tritonserver that serves the repository of `run`.

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
                model = Path(line[1]).relative_to(run.repository).parts[0]
                progress = Path(f"{run.progress_prefix}{process.pid}")
                stubs.append(Stub(process, model, line[2], progress))
    return stubs
