"""`python -m benchmarks.gpu.part NAME DEVICE FILE`: one part of a run, in this process."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_MODULES = {"engine": "engine", "compiled": "engine", "invariance": "engine", "machine": "machine"}
_MODULES |= {"profile": "profile", "service": "service", "tests": "machine"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a part works with."""

    device: str
    """`cuda` or `cpu`; on the CPU sizes are tiny, to try everything but the kernels."""
    file: Path
    """Where its findings are kept; written anew for each."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_tiny(self) -> bool:
        """Whether this only tries that the part works."""
        return self.device == "cpu"

    def row(self, **columns: Any) -> None:
        """Add a row to the part's table; `_` in a column's name is a space."""
        self.rows.append({name.replace("_", " "): value for name, value in columns.items()})
        self._save()

    def note(self, line: str) -> None:
        """Add a line of text above the table."""
        self.notes.append(line)
        self._save()

    def checkpoint(self) -> Path:
        """A checkpoint of base-960h's shape with random weights, or a tiny one."""
        from benchmarks.checkpoint import make_checkpoint

        return make_checkpoint(
            ROOT / "build" / "benchmarks" / "checkpoints", "tiny" if self.is_tiny else "base"
        )

    def _save(self) -> None:
        unfinished = self.file.with_suffix(".part")
        unfinished.write_text(json.dumps({"rows": self.rows, "notes": self.notes}))
        unfinished.replace(self.file)


def main(name: str, device: str, file: str) -> int:
    """Run a part."""
    # The runner's time is up: end in the ordinary way, so that a server is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # As the server sets it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    kind, _, argument = name.partition("-")
    run = getattr(importlib.import_module(f"benchmarks.gpu.{_MODULES[kind]}"), kind)
    part = Part(device=device, file=Path(file))
    run(part, argument) if argument else run(part)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
