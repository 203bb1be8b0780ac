"""The machine that a program ran on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import psutil

_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "bf16",
    "avx512_vnni": "VNNI",
    "amx_bf16": "AMX",
}
"""Processor flags that decide how fast a network runs, and their usual names."""


def machine() -> dict[str, str | int]:
    """Processor, cores that this process may use, memory, and GPUs where there are some."""
    described: dict[str, str | int] = {
        "processor": processor_in(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{psutil.virtual_memory().total >> 20} MiB",
    }
    if gpus := _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"):
        described["gpus"] = ", ".join(gpus.splitlines())
    return described


def describe() -> str:
    """One line for people: processor, GPUs, packages, date and commit."""
    found = machine()
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    commit = _output("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty")
    gpus = f"; {found['gpus']}" if "gpus" in found else ""
    return (
        f"{found['cores']} cores of {found['processor']}{gpus}; "
        f"Python {platform.python_version()}, {', '.join(versions)}; "
        f"{datetime.date.today():%d %B %Y}, commit {commit or 'unknown'}"
    )


def processor_in(cpuinfo: str) -> str:
    """The processor's name and its instruction sets, from the text of /proc/cpuinfo."""
    name = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", cpuinfo, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    sets = [title for flag, title in _SETS.items() if flag in known]
    return f"{name[1] if name else 'unknown'} ({', '.join(sets) or 'no AVX2'})"


def _output(program: str, *arguments: str) -> str:
    """The standard output of a command; empty where it is not installed or fails."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
