"""The machine, and the tests that need its GPU."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
import sys

import numpy as np

from benchmarks.gpu.part import ROOT, Part

_PACKAGES = ("torch", "transformers", "numpy", "tritonclient", "grpcio", "nvidia-pytriton", "av")


def machine(part: Part) -> None:
    """What it is made of, and what CUDA takes of a GPU's memory beside torch."""
    import torch

    from asr_backend.acoustic.engine.loading import CUDA_CONTEXT_BYTES, load_engine
    from asr_backend.checkpoint.description import load_checkpoint

    part.row(what="Python", value=platform.python_version())
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not there"
        part.row(what=package, value=version)
    if part.device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        part.row(what="GPUs", value=torch.cuda.device_count())
        part.row(what="the first", value=gpu.name)
        part.row(what="its memory, GiB", value=gpu.total_memory / 2**30)
        part.row(what="compute capability", value=f"{gpu.major}.{gpu.minor}")
        part.row(what="CUDA of torch", value=str(torch.version.cuda))
    engine = load_engine(
        load_checkpoint(part.checkpoint()), device=part.device, precision="auto", threads=2
    )
    part.row(what="--precision auto", value=engine.name)
    engine.forward([np.zeros(16_000, np.float32)] * 2)
    if part.device == "cuda":
        free, total = torch.cuda.mem_get_info()
        beside_bytes = total - free - torch.cuda.memory_reserved()
        part.row(what="memory beside torch's, MiB", value=beside_bytes / 2**20)
        part.row(what="assumed for it, MiB", value=CUDA_CONTEXT_BYTES / 2**20)


def tests(part: Part) -> None:
    """The tests marked `gpu`; without the settings of pyproject.toml, which need more plugins."""
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(ROOT)]
    command += ["-p", "no:cacheprovider", "--import-mode=importlib", "-q", "-rfE", "-m", "gpu"]
    done = subprocess.run(
        [*command, "tests/unit/backend/acoustic"], cwd=ROOT, capture_output=True, text=True
    )
    print(done.stdout, done.stderr)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            part.note(f"- {line}")
    counts = re.findall(r"(\d+) (passed|failed|skipped|errors?)", done.stdout)
    if not counts:
        raise RuntimeError(f"pytest ran no test, exit status {done.returncode}")
    part.row(**{kind: int(count) for count, kind in counts})
    if done.returncode:
        sys.exit(f"the tests' exit status is {done.returncode}")
