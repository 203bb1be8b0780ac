"""Say in one line, before anything is installed, when this interpreter cannot run the project."""

import ctypes
import pathlib
import platform
import sys
import sysconfig


def main() -> int:
    """Return 0 when the interpreter fits, else print why not and return 1."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        print(
            f"Python 3.10 to 3.12 is needed, {sys.executable} is {platform.python_version()}: "
            "try `make PYTHON=python3.11 ...`",
            file=sys.stderr,
        )
        return 1
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("The tritonserver of the wheel runs on x86-64 Linux only.", file=sys.stderr)
        return 1
    try:
        libpython = str(sysconfig.get_config_var("INSTSONAME"))
        folder = pathlib.Path(str(sysconfig.get_config_var("LIBDIR")))
        ctypes.CDLL(str(folder / libpython) if (folder / libpython).exists() else libpython)
    except OSError:
        print(
            f"{libpython}, which Triton's Python backend loads, is missing: install it (Debian and "
            f"Ubuntu: libpython3.{sys.version_info[1]}) or use a Python built with --enable-shared",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
