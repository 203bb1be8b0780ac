"""A plain tritonserver, by the commands that docs/triton.md gives."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.local_server import free_ports

ROOT = Path(__file__).parents[3]


@contextlib.contextmanager
def plain_triton(folder: Path, repository: Path | None = None) -> Iterator[str]:
    """Start one and yield its URL; it may not be ready yet.

    Args:
        folder: for its backends and its log.
        repository: of its models; None for the project's own.
    """
    page = (ROOT / "docs" / "triton.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (port,) = free_ports(1)
    prefix = f"plain-{os.getpid()}-{port}-"
    script = commands.rstrip().replace("build/backends", str(folder / "backends"))
    if repository is not None:
        script = script.replace("=model_repository", f"={repository}")
    script += f" --grpc-port={port} --allow-http=false --allow-metrics=false"
    script += f" --backend-config=python,shm-region-prefix-name={prefix}"
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-euc", script],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for region in Path("/dev/shm").glob(f"{prefix}*"):
            region.unlink()
