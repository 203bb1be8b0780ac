"""The tritonserver process: started, listened to, and not left behind."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from asr_backend.server.prepare import ports
from asr_backend.server.prepare.run_directory import NOT_READY, RunDirectory
from asr_backend.server.supervise import launcher, watchdog

_LAST_WORDS_S = 2.0
_LOADED = re.compile(rb"\] \"?successfully loaded '([^']+)'")
_CRASHED = re.compile(rb"Signal \((6|11)\) received")
_FAILED = re.compile(rb"\] \"?failed to load '([^']+)'(?! version)")

# Said every second of a stop, and no fault.
_NOT_READY = f"failed to load model '{NOT_READY}'".encode()


class TritonProcess:
    """A running tritonserver with its stubs: one process group, and a watchdog outside of it.

    Attributes:
        loads: how often each model was loaded, by name.
        failures: how often each model failed to load, by name.
        crashed_s: when it said that it crashed, by the monotonic clock; it may hang over its last
            words, where its memory is in ruins.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], run: RunDirectory) -> None:
        """Starts it; call from the main thread, whose end would be taken for the supervisor's."""
        self.loads: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.crashed_s = math.inf
        self._lost_port: str | None = None
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid())),
                *(env.get("LD_PRELOAD", ""), *argv),
            ],
            # Not for the launcher: the guard takes itself out of the variable when it is loaded.
            env={key: value for key, value in env.items() if key != "LD_PRELOAD"},
            cwd=run.empty,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self.psutil = psutil.Process(self.pid)
        self._watchdog = subprocess.Popen(
            [
                sys.executable,
                *("-I", "-S", str(Path(watchdog.__file__))),
                *(str(self.pid), str(run.path), run.region_prefix),
            ],
            # It needs no secret of ours.
            env={key: env[key] for key in ("LD_LIBRARY_PATH",) if key in env},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="triton's output", daemon=True)
        self._listener.start()

    def __enter__(self) -> TritonProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def status(self) -> int | None:
        """Exit status in a shell's way (128 + signal), None while it runs."""
        code = self._popen.poll()
        return 128 - code if code is not None and code < 0 else code

    def lost_port(self) -> str | None:
        """Why it ended by itself: the use of a port that another program took, as its log says."""
        self._listener.join(_LAST_WORDS_S)
        return self._lost_port

    def terminate(self) -> None:
        """Asks it to end; it takes no SIGTERM (see launcher)."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends it with all its stubs and the watchdog; waits for its end and its last words."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        with contextlib.suppress(BrokenPipeError):
            self._watchdog.communicate(b".")
        # A reader of ours that has stopped reading must not keep us.
        self._listener.join(_LAST_WORDS_S)

    def _listen(self) -> None:
        """Passes the output on, and takes from it what no other channel says.

        A model that is being loaded again answers as ready all the while, from its old instances;
        that the new ones serve, their warm-up done, is said in the log alone.
        """
        assert self._popen.stdout is not None
        with self._popen.stdout as lines:
            for line in lines:
                if match := _LOADED.search(line):
                    self.loads[match[1].decode()] += 1
                elif match := _FAILED.search(line):
                    self.failures[match[1].decode()] += 1
                elif use := ports.lost(line):
                    self._lost_port = use
                elif _CRASHED.match(line):
                    self.crashed_s = time.monotonic()
                if _NOT_READY in line:
                    continue
                # Whoever read it may be gone, the disk full, or sys.stderr None where it was closed
                # at the start: Triton must not block on a full pipe.
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    sys.stderr.buffer.write(line)
                    sys.stderr.buffer.flush()
