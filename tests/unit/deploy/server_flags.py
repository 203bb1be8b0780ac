"""The variables asr-server reads, as its --help lists its flags."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path


@functools.cache
def server_variables() -> frozenset[str]:
    program = Path(sys.executable).with_name("asr-server")
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    flags = re.findall(r"--([a-z][a-z-]+)", shown.stdout)
    return frozenset("ASR_" + flag.upper().replace("-", "_") for flag in flags)
