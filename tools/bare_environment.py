"""`python3 tools/bare_environment.py WHEELS TARGET`: an environment without a package registry.

Makes TARGET a virtual environment with this tree, the wheels of a folder, and all that the running
Python has already (torch, transformers, numpy, pytest). Needs nothing but the standard library and
pip. Wheels come before what is there, so `--without numpy` keeps the machine's own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_ASR_SERVER = """#!{python}
import sys

from asr_backend.server.cli import main

sys.exit(main())
"""


def main(arguments: list[str] | None = None) -> int:
    """Make the environment; prints its python."""
    parser = argparse.ArgumentParser(
        prog="python3 tools/bare_environment.py", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("wheels", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--without", default="", metavar="NAME", help="leave this wheel out")
    options = parser.parse_args(arguments)
    print(make(options.wheels.resolve(), options.target.resolve(), without=options.without))
    return 0


def make(wheels: Path, target: Path, *, without: str = "") -> Path:
    """Make the environment `target`; returns its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(target)}))
    files = [
        str(wheel)
        for wheel in sorted(wheels.glob("*.whl"))
        if wheel.name.partition("-")[0] != without
    ]
    if files:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-index", "--no-deps", "--no-compile", "--target", str(packages)]
        subprocess.run([*pip, *files], check=True)
    # Behind the wheels; of a virtual environment that made this one, venv would know nothing.
    paths = [str(ROOT / "python_backend" / "src"), str(ROOT / "client_sdk" / "src")]
    paths += installed()
    (packages / "asr_tree.pth").write_text("\n".join(paths) + "\n")
    python = target / "bin" / "python"
    program = target / "bin" / "asr-server"
    program.write_text(_ASR_SERVER.format(python=python))
    program.chmod(0o755)
    return python


def installed() -> list[str]:
    """The folders with packages that this Python has."""
    # Also those that .pth files name: nobody reads such files in a folder that one names.
    own = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(ROOT)}
    own |= {str(Path(folder) / "lib-dynload") for folder in own} | {str(Path(__file__).parent)}
    return [path for path in sys.path if Path(path).is_dir() and path not in own]


if __name__ == "__main__":
    sys.exit(main())
