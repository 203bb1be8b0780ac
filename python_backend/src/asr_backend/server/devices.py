"""The GPUs of this machine, told without loading a CUDA library."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def gpu_count() -> int:
    """NVIDIA GPUs that a child process would see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) or _listed_gpus()
    if visible is None:
        return count
    return min(count, sum(1 for name in visible.split(",") if name.strip() not in ("", "-1")))


def _listed_gpus() -> int:
    """What nvidia-smi lists: under WSL and some sandboxes /proc has no entry."""
    if shutil.which("nvidia-smi") is None:
        return 0
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(1 for line in listed.stdout.splitlines() if line.startswith("GPU "))
