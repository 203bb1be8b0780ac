"""The GPUs that wav2vec2 runs on: the ones torch can use, as a separate process reports them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr_backend.acoustic.precision import cpu_precision
from asr_backend.server.errors import StartError

_PROBE = (sys.executable, "-m", "asr_backend.acoustic.engine.gpus")
# Time to read torch from a cold disk and to start CUDA on many GPUs.
_PROBE_TIMEOUT_S = 180.0
# From the oldest generation to the newest.
_AUTO_ON_GPUS = ("fp32", "fp16", "bf16")
# Device files of NVIDIA's driver; dxg is that of WSL. One may exist without a usable GPU: /proc
# shows the host's in every container.
_SIGNS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """The GPUs that torch can use.

    Attributes:
        indices: of the GPUs, by CUDA's count in this environment; empty for the CPU.
        names: of the same GPUs.
        precision: the one that `auto` means on all of them; "" for the CPU.
        note: one line for the operator if there are fewer than expected; else "".
    """

    indices: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    precision: str = ""
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(self.names) or "CPU"


def find_gpus(device: str, env: Mapping[str, str]) -> Gpus:
    """The GPUs for `--device`: none for cpu, those that torch can use for auto and cuda.

    Importing torch takes seconds, so auto asks only if there is a sign of a GPU.

    Args:
        device: `auto`, `cpu` or `cuda`.
        env: the environment that the models will run in.

    Raises:
        StartError: for cuda, if torch can use none.
    """
    if device == "cpu" or (device == "auto" and not _has_sign(env)):
        return Gpus()
    found, said = _ask(env)
    if not found:
        said = said or "it finds no GPU"
        if device == "cuda":
            raise StartError(f"--device cuda: torch can use no GPU here: {said}")
        return Gpus(
            note=f"there are signs of a GPU, but torch can use none ({said}); wav2vec2 runs on the "
            "CPU. To run on the CPU on purpose, set --device cpu"
        )
    note = f"left out: {said}" if said else ""
    named = _named(env)
    if not note and len(found) < len(named):
        note = (
            f"CUDA_VISIBLE_DEVICES names {len(named)} devices, of which torch can use {len(found)}"
        )
        if any(name.startswith("MIG-") for name in named):
            # CUDA shows a process one MIG instance only.
            note += "; a process sees one MIG instance: start an asr-server for each"
    return Gpus(
        indices=tuple(index for index, _, _ in found),
        names=tuple(name for _, name, _ in found),
        # GPUs of several generations share one, so that it does not matter which GPU answers.
        precision=min((precision for _, _, precision in found), key=_AUTO_ON_GPUS.index),
        note=note,
    )


def resolved_precision(setting: str, gpus: Gpus) -> str:
    """The precision that wav2vec2 is started with: the setting, with `auto` resolved."""
    return setting if setting != "auto" else gpus.precision or cpu_precision()


def _has_sign(env: Mapping[str, str]) -> bool:
    if "CUDA_VISIBLE_DEVICES" in env and not _named(env):
        return False
    if any(Path(sign).exists() for sign in _SIGNS):
        return True
    # Some sandboxes have no device files.
    return shutil.which("nvidia-smi", path=env.get("PATH", os.defpath)) is not None


def _named(env: Mapping[str, str]) -> list[str]:
    """The devices in CUDA_VISIBLE_DEVICES; CUDA leaves out what follows a -1."""
    named = []
    for name in env.get("CUDA_VISIBLE_DEVICES", "").split(","):
        if name.strip() in ("", "-1"):
            break
        named.append(name.strip())
    return named


def _ask(env: Mapping[str, str]) -> tuple[list[tuple[int, str, str]], str]:
    """The GPUs that torch can use, and its reason for leaving others out."""
    try:
        done = subprocess.run(
            _PROBE, env=env, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"no answer within {_PROBE_TIMEOUT_S:g} s"
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        gpus = [(index, name, precision) for index, name, precision in answer["gpus"]]
        return gpus, str(answer["said"])
    except (IndexError, ValueError, KeyError, TypeError):
        words = done.stderr.strip().splitlines()
        return [], words[-1] if words else f"exit status {done.returncode}"
