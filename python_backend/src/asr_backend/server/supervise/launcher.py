"""Prepares a process and executes the program in its arguments. Uses the standard library only.

Arguments: the parent's process id, the libraries to preload into the program (may be empty), the
program and its arguments. The kernel kills the program when its parent dies. The program blocks
SIGTERM and SIGHUP, which service managers and shells send to all processes of a service at once;
its parent ends it with SIGINT. A `preexec_fn` could do the same, but may deadlock if the parent
has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns."""
    parent, preload, argv = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    # Python ignores these two, and an executed program would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if preload:
        os.environ["LD_PRELOAD"] = preload
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
