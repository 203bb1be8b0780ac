"""The tritonserver process: starts it, reads its log, and ends it with all its children."""

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

from asr_backend.server.errors import StartError
from asr_backend.server.prepare import ports
from asr_backend.server.prepare.run_directory import NOT_READY, RunDirectory
from asr_backend.server.supervise import launcher, watchdog

_LAST_WORDS_S = 2.0
_LOADED = re.compile(rb"\] \"?successfully loaded '([^']+)'")
# wav2vec2 is too inexact in the precision of its configuration.
_TOO_INEXACT = re.compile(rb"wav2vec2 cannot start: .*; start with --precision (\w+)")
_CRASHED = re.compile(rb"Signal \((6|11)\) received")
_FAILED = re.compile(rb"\] \"?failed to load '([^']+)'(?! version)")
# Of the line in which Triton says why, if the model itself could not.
_WHY = re.compile(rb"\] \"?failed to load '(?:[^']+)' version \d+: (.*)")

# Logged every second of a stop, and no fault.
_NOT_READY = f"failed to load model '{NOT_READY}'".encode()


OF_NO_GPU = re.compile(
    rb"^Error: Failed to initialize NVML|CudaDriverHelper has not been initialized|"
    rb"pinned system memory.*(?:CUDA driver version|no pinned memory pool)|"
    rb"CUDA memory pool disabled|DCGM unable to start"
)
"""What Triton logs, some of it as errors, on every machine without a GPU."""


class PrecisionRefusedError(StartError):
    """The checkpoint is too inexact in the precision that was chosen.

    Attributes:
        exacter: the precision to take instead.
    """

    def __init__(self, exacter: str) -> None:
        super().__init__(f"the log above says why; start with --precision {exacter}")
        self.exacter = exacter


class TritonProcess:
    """A running tritonserver with its stubs: one process group, and a watchdog outside of it.

    Attributes:
        loads: successful loads of each model, by name.
        failures: failed loads of each model, by name.
        why_failed: what Triton logged first about a model that cannot be loaded; "" if nothing.
        crashed_s: when it logged a crash, by the monotonic clock; it may then hang in the handler
            of its own crash.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        run: RunDirectory,
        *,
        hidden: re.Pattern[bytes] | None = None,
    ) -> None:
        """Starts it; call from the main thread: the kernel kills it when this thread ends.

        Args:
            argv: its command line.
            env: its variables.
            run: its folder.
            hidden: lines of its log that are not passed on.
        """
        self._hidden = hidden
        self.loads: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.why_failed = ""
        self.crashed_s = math.inf
        self._lost_port: str | None = None
        self._exacter: str | None = None
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid())),
                *(env.get("LD_PRELOAD", ""), *argv),
            ],
            # Not for the launcher: the guard removes itself from the variable when it is loaded.
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
            # It needs no other variable, and no secret.
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
        """Exit status as in a shell (128 + signal), None while it runs."""
        code = self._popen.poll()
        return 128 - code if code is not None and code < 0 else code

    def lost_port(self) -> str | None:
        """The use of the port that another program took, if its log says that it ended for that."""
        self._listener.join(_LAST_WORDS_S)
        return self._lost_port

    def exacter_precision(self) -> str | None:
        """The precision to take instead, if its log says that this one is too inexact."""
        self._listener.join(_LAST_WORDS_S)
        return self._exacter

    def terminate(self) -> None:
        """Asks it to end, by SIGINT; it blocks SIGTERM (see launcher)."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kills it with all its stubs, ends the watchdog, and waits for its last output."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        with contextlib.suppress(BrokenPipeError):
            self._watchdog.communicate(b".")
        # A reader of our output that has stopped reading must not block the stop.
        self._listener.join(_LAST_WORDS_S)

    def _listen(self) -> None:
        """Passes the output on, and notes loads, failures, lost ports and crashes.

        Only the log says that new instances serve: a model that is being loaded again answers as
        ready all the while, from its old instances.
        """
        assert self._popen.stdout is not None
        with self._popen.stdout as lines:
            for line in lines:
                if match := _LOADED.search(line):
                    self.loads[match[1].decode()] += 1
                elif match := _FAILED.search(line):
                    self.failures[match[1].decode()] += 1
                elif match := _WHY.search(line):
                    self.why_failed = self.why_failed or match[1].decode(errors="replace").strip()
                elif use := ports.lost(line):
                    self._lost_port = use
                elif match := _TOO_INEXACT.search(line):
                    self._exacter = match[1].decode()
                elif _CRASHED.match(line):
                    self.crashed_s = time.monotonic()
                if _NOT_READY in line or (self._hidden and self._hidden.search(line)):
                    continue
                # The reader may be gone, the disk full, or sys.stderr None because it was closed at
                # the start. Go on reading all the same: Triton must not block on a full pipe.
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    sys.stderr.buffer.write(line)
                    sys.stderr.buffer.flush()
