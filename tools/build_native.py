"""Builds the libraries in C: asr-server's guard of tritonserver 24.10, and the beam search.

    python3 -m venv zig && zig/bin/pip install ziglang==0.13.0
    zig/bin/python tools/build_native.py guard search

That compiler gives the same bytes on every machine, for x86-64 with glibc 2.17 or later. With
--compiler, any other C compiler builds them: for a test of the source, or for another machine.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ZIG = "0.13.0"
_BACKEND = Path(__file__).parents[1] / "python_backend/src/asr_backend"
_FLAGS = (
    *("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-value"),
    *("-fPIC", "-shared", "-fvisibility=hidden", "-ftls-model=initial-exec"),
    *("-s", "-Wl,--build-id=none"),
)


@dataclass(frozen=True, kw_only=True)
class Native:
    """A library and its sources, in one folder."""

    folder: Path
    name: str
    needs: tuple[str, ...] = ()
    """Flags after the sources."""

    @property
    def library(self) -> Path:
        """The built file, which is in the tree."""
        return self.folder / self.name

    def sources(self) -> list[Path]:
        """The files that it is made of, in order."""
        return sorted(file for file in self.folder.iterdir() if file.suffix in (".c", ".h"))

    def sources_hash(self) -> str:
        """What the library says of the sources that it was built from: their SHA-256."""
        return hashlib.sha256(b"".join(file.read_bytes() for file in self.sources())).hexdigest()

    def build(self, compiler: list[str], library: Path) -> None:
        """Compile the library, and put it in its place as a new file: the old one may be in use.

        Args:
            compiler: the command, with what is to stand before the flags.
            library: the file to write.

        Raises:
            subprocess.CalledProcessError: the compiler failed; it has said why.
        """
        code = [file.name for file in self.sources() if file.suffix == ".c"]
        define = f'-DSOURCES_HASH="{self.sources_hash()}"'
        new = library.with_name("new-" + library.name)
        command = [*compiler, *_FLAGS, define, "-o", str(new), *code, *self.needs]
        subprocess.run(command, cwd=self.folder, check=True)
        new.replace(library)


GUARD = Native(
    folder=_BACKEND / "server/prepare/tritonserver_guard", name="libasr_tritonserver_guard.so"
)
SEARCH = Native(folder=_BACKEND / "ctc/search", name="libasr_ctc_search.so", needs=("-lm",))
LIBRARIES = {"guard": GUARD, "search": SEARCH}


def zig() -> list[str]:
    """The compiler of the package ziglang, which has to be installed beside this Python."""
    return [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.17"]


def main() -> None:
    """Build libraries in their places."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("libraries", nargs="+", choices=LIBRARIES)
    parser.add_argument("--compiler", help=f"another one than ziglang {ZIG}, such as gcc")
    args = parser.parse_args()
    for name in args.libraries:
        native = LIBRARIES[name]
        native.build([args.compiler] if args.compiler else zig(), native.library)


if __name__ == "__main__":
    main()
