"""The processes of a running server."""

from __future__ import annotations

import psutil

from tools.local_server import LocalServer


def stubs(server: LocalServer, model: str) -> list[psutil.Process]:
    """The processes of a model's instances."""
    return [
        process
        for process in psutil.Process(server.process.pid).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
        and any("triton_python_backend_stub" in part for part in process.cmdline()[:1])
        and any(f"/{model}/" in part for part in process.cmdline())
    ]
