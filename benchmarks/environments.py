"""A virtual environment for each peer, so that the repository's own holds none of them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "benchmarks" / "environments"
INSTALL_TIMEOUT_S = 900.0


class NotInstalled(Exception):
    """A peer's packages could not be installed; the message is pip's last line."""


def python_with(requirements: Sequence[str], *, folder: Path = FOLDER) -> Path:
    """The Python of an environment that holds the packages, made where it is not there yet.

    It sees torch, transformers and what else the development environment has, behind its own
    packages: those are some gigabytes, and every peer should run the same ones. It sees this
    repository too, for the peer's server.

    Args:
        requirements: as pip takes them, such as `litserve==0.2.19`.
        folder: where environments are kept.

    Raises:
        NotInstalled: pip could not install them.
    """
    environment = folder / hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
    python = environment / "bin" / "python"
    complete = environment / "installed.txt"
    if complete.exists():
        return python
    shutil.rmtree(environment, ignore_errors=True)
    venv.create(environment, symlinks=True, with_pip=False)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = environment / "lib" / version / "site-packages"
    (packages / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    _install(python, requirements)
    complete.write_text("\n".join(requirements) + "\n")
    return python


def _install(python: Path, requirements: Sequence[str]) -> None:
    if not requirements:
        return
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    try:
        done = subprocess.run(
            [*command, "--only-binary=:all:", *requirements],
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"pip did not end within {INSTALL_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotInstalled(lines[-1] if lines else f"pip ended with status {done.returncode}")
