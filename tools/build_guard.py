"""Builds the library that asr-server preloads into tritonserver 24.10.

    python3 -m venv zig && zig/bin/pip install ziglang==0.13.0
    zig/bin/python tools/build_guard.py

That compiler gives the same bytes on every machine, for glibc 2.17 and later. With --compiler, any
other C compiler builds it, for a test of the source.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

FOLDER = (
    Path(__file__).parents[1] / "python_backend/src/asr_backend/server/prepare/tritonserver_guard"
)
LIBRARY = FOLDER / "libasr_tritonserver_guard.so"
ZIG = "0.13.0"
_FLAGS = (
    *("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-value"),
    *("-fPIC", "-shared", "-fvisibility=hidden", "-ftls-model=initial-exec"),
    *("-s", "-Wl,--build-id=none"),
)


def sources() -> list[Path]:
    """The files that it is made of, in order."""
    return sorted(file for file in FOLDER.iterdir() if file.suffix in (".c", ".h"))


def sources_hash() -> str:
    """What the library says of the sources that it was built from: their SHA-256."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources())).hexdigest()


def build(compiler: list[str], library: Path) -> None:
    """Compiles the library, and puts it in its place as a new file: the old one may be in use.

    Args:
        compiler: the command, with what is to stand before the flags.
        library: the file to write.

    Raises:
        subprocess.CalledProcessError: the compiler failed; it has said why.
    """
    code = [file.name for file in sources() if file.suffix == ".c"]
    define = f'-DSOURCES_HASH="{sources_hash()}"'
    new = library.with_name("new-" + library.name)
    subprocess.run([*compiler, *_FLAGS, define, "-o", str(new), *code], cwd=FOLDER, check=True)
    new.replace(library)


def zig() -> list[str]:
    """The compiler of the package ziglang, which has to be installed beside this Python."""
    return [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.17"]


def main() -> None:
    """Builds the library in its place."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compiler", help=f"another one than ziglang {ZIG}, such as gcc")
    args = parser.parse_args()
    build([args.compiler] if args.compiler else zig(), LIBRARY)


if __name__ == "__main__":
    main()
