"""The precision that `auto` means on a device. Needs no torch."""

from __future__ import annotations

from pathlib import Path

PRECISIONS = ("fp32", "bf16", "fp16", "int8")


def cpu_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Int8 if this CPU multiplies bf16 in hardware (AVX512-BF16 or AMX), else fp32."""
    return "int8" if cpu_has_bf16(cpuinfo) else "fp32"


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU multiplies bf16 in hardware, with AVX-512 or AMX."""
    flags = next(
        (line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), ""
    )
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def gpu_precision(capability: tuple[int, int]) -> str:
    """Bf16 from compute capability 8.0 on, fp16 from 7.0 on, else fp32."""
    return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
