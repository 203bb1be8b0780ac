"""What a run was made on, in a line for people."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

_TELLING = {
    "avx512f": "AVX-512",
    "avx512_bf16": "bf16",
    "avx512_vnni": "VNNI",
    "amx_bf16": "AMX",
}
"""Processor flags that decide how fast a network runs, and what people call them."""


def describe() -> str:
    """Processor, packages, date and commit."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    flags = set(re.findall(r"^flags\s*: (.*)$", info, re.MULTILINE)[0].split())
    can = [name for flag, name in _TELLING.items() if flag in flags]
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    return (
        f"{len(os.sched_getaffinity(0))} cores of an {model[1] if model else platform.machine()} "
        f"with {', '.join(can) or 'no wide vectors'}; Python {platform.python_version()}, "
        f"{', '.join(versions)}; {datetime.date.today():%d %B %Y}, commit {_commit()}"
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
