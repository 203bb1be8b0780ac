"""The machine that a sweep ran on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psutil


def describe_machine() -> dict[str, str | int]:
    """Processor, cores that this process may use, memory, and GPUs where there are some."""
    described: dict[str, str | int] = {
        "processor": processor_in(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{psutil.virtual_memory().total >> 20} MiB",
    }
    if gpus := _gpus():
        described["gpus"] = gpus
    return described


def processor_in(cpuinfo: str) -> str:
    """The processor's name and those of its instruction sets that matter to the network."""
    fields = dict(
        (key.strip(), value.strip())
        for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())
    )
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bf16", "avx512_vnni": "VNNI"}
    flags = set(fields.get("flags", "").split())
    sets = [name for flag, name in known.items() if flag in flags]
    return f"{fields.get('model name', 'unknown')} ({', '.join(sets) or 'no AVX2'})"


def _gpus() -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return ", ".join(listed.stdout.split("\n")).strip(", ") if listed.returncode == 0 else ""
