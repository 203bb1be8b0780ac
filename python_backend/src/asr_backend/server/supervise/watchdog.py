"""Kills a server whose supervisor has died, and cleans up. Uses the standard library only.

Arguments: the server's process group, its run directory, the prefix of its shared-memory regions.
The supervisor holds the other end of standard input. A byte on it means that the supervisor has
cleaned up; end of file without a byte means that the supervisor was killed.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import sys
import time

_KILL_FOR_S = 1.0


def main() -> None:
    """Waits for the supervisor to end."""
    group, run_dir, region_prefix = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, 1):
        return
    # More than once: the server may be starting a process at this moment.
    deadline = time.monotonic() + _KILL_FOR_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, signal.SIGKILL)
            time.sleep(0.05)
    shutil.rmtree(run_dir, ignore_errors=True)
    for region in glob.glob(f"/dev/shm/{region_prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(region)


if __name__ == "__main__":
    main()
