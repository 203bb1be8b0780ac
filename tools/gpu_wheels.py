"""`python -m tools.gpu_wheels FOLDER`: the wheels that a bare machine with a GPU lacks.

For a machine with Linux on x86-64, Python, torch, transformers, numpy and pytest, but without a
package registry. Versions are those of requirements.txt, but for tritonclient, whose newer releases
need 5 MB more. The large wheels are packed anew with a better compression, and Triton's with the
stub of one Python only: 56 MB in place of 87.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 58_000_000
"""What fits beside the tree."""
LARGE = ("nvidia-pytriton", "numpy", "grpcio", "pydantic-core")
"""Packed anew. numpy, as Triton's stub does not run with numpy 2."""
SMALL = (
    *("protobuf", "python-rapidjson", "psutil", "pydantic", "annotated-types"),
    *("typing-extensions", "typing-inspection", "tqdm", "hypothesis", "sortedcontainers"),
)
"""What else the server, the client and the tests import. Not PyAV: its wheel does not fit."""
TRITONCLIENT = "tritonclient==2.65.0"
"""A small wheel that does not need ml_dtypes, as newer ones do."""
_GLIBC = range(39, 4, -1)


def main(arguments: list[str] | None = None) -> int:
    """Fill the folder; the exit status is 1 where it is too large for such a machine."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.gpu_wheels", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="of the machine (default: 3.12)")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for old in options.folder.glob("*.whl"):
        old.unlink()
    pins = pinned((ROOT / "requirements.txt").read_text())
    small = [TRITONCLIENT, *(f"{name}=={pins[name]}" for name in SMALL)]
    download(small, options.folder, options.python)
    with tempfile.TemporaryDirectory() as folder:
        large = [f"{name}=={pins[name]}" for name in LARGE]
        download(large, Path(folder), options.python)
        print("==> packing the large wheels anew, minutes of one core")
        for wheel in Path(folder).glob("*.whl"):
            repack(wheel, options.folder / wheel.name, options.python)
    wheels = sorted(options.folder.glob("*.whl"), key=lambda each: each.stat().st_size)
    for each in wheels:
        print(f"{each.stat().st_size / 1e6:6.1f} MB  {each.name}")
    total = sum(each.stat().st_size for each in wheels)
    print(f"{total / 1e6:6.1f} MB of {MAX_BYTES / 1e6:.0f}")
    return int(total > MAX_BYTES)


def pinned(requirements: str) -> dict[str, str]:
    """Versions by name."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)", requirements, re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


def download(requirements: list[str], folder: Path, python: str) -> None:
    """Bring wheels for that Python on Linux, without what they need."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--python-version", python, "--implementation", "cp"]
    for minor in _GLIBC:
        command += ["--platform", f"manylinux_2_{minor}_x86_64"]
    command += ["--platform", "manylinux2014_x86_64"]
    subprocess.run([*command, *requirements], check=True)


def repack(source: Path, target: Path, python: str) -> None:
    """Copy a wheel, tests and Triton's stubs of other Pythons left out, compressed with LZMA."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            of_another = "/python_backend_stubs/" in entry.filename
            of_another = of_another and f"/{python}/" not in entry.filename
            if of_another or "/tests/" in entry.filename:
                continue
            new.writestr(entry, old.read(entry), zipfile.ZIP_LZMA)


if __name__ == "__main__":
    sys.exit(main())
