"""The time of `import asr_client`, beside that of the packages that it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys

OURS = "import asr_client"
NEEDED = "import numpy, asyncio, grpc, grpc.aio, tritonclient.grpc"


def measure(runs: int) -> tuple[float, float]:
    """The minimum seconds of `OURS` and of `NEEDED`, each in a new process, in turn.

    Other work on the machine can only add to the time.
    """
    seconds = [(_seconds(OURS), _seconds(NEEDED)) for _ in range(runs)]
    ours, needed = zip(*seconds, strict=True)
    return min(ours), min(needed)


def _seconds(code: str) -> float:
    """The interpreter's own figures, without its start."""
    # An installed package has its bytecode; the first run leaves it here.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = re.findall(r"import time: +\d+ \| +(\d+) \| (\S.*)", done.stderr)
    # Lines without indentation are imports by no other module; `site` ends the start.
    after = [name for _, name in lines].index("site") + 1
    return sum(int(microseconds) for microseconds, _ in lines[after:]) / 1e6
