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


def cpu_candidates(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """The precisions that may be the fastest on this CPU, the most exact first."""
    return ("fp32", "bf16", "int8") if cpu_has_bf16(cpuinfo) else ("fp32", "int8")


def cpu_description(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, str]:
    """Model and features of this CPU."""
    values = dict.fromkeys(("model name", "flags"), "")
    for line in cpuinfo.read_text().splitlines():
        key, _, value = line.partition(":")
        if values.get(key.strip(), None) == "":
            values[key.strip()] = value.strip()
    return values["model name"], values["flags"]
