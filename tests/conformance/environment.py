"""Makes the environment of kserve's client: `python -m tests.conformance.environment`.

`make test` runs it first, so that the tests find it there.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.environments import python_with

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("kserve.txt")


def kserve_python() -> Path:
    """The Python that has kserve, installed where it is not there yet."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if not line.startswith("#")]
    return python_with(wanted, folder=ROOT / "build" / "conformance")


if __name__ == "__main__":
    print(kserve_python())
