"""The settings of a sweep; what is not named has the server's default."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.sweep.settings import FIELDS, ServerSetting

ASR_SERVER = Path(sys.executable).with_name("asr-server")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The settings that asr-server reports."""

    settings: Mapping[str, Any]
    """A value for each field of ServerSetting."""

    checkpoint: str
    """Its id and revision."""

    fronts: int
    """Processes of `transcribe`."""


def ask_for_defaults(flags: Sequence[str]) -> Defaults:
    """Ask asr-server itself, which starts nothing.

    Args:
        flags: those that all servers of the sweep get.

    Raises:
        RuntimeError: it is not installed, or refuses the flags.
    """
    if not ASR_SERVER.exists():
        raise RuntimeError(f"there is no {ASR_SERVER}: run make setup")
    asked = subprocess.run(
        [str(ASR_SERVER), "--print-config", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if asked.returncode:
        raise RuntimeError(asked.stderr.strip() or f"asr-server: status {asked.returncode}")
    return read_defaults(json.loads(asked.stdout))


def read_defaults(described: Mapping[str, Any]) -> Defaults:
    """Read what `asr-server --print-config` prints."""
    settings = {name: described["settings"][name] for name in FIELDS}
    settings["device"] = "gpu" if described["gpus"]["indices"] else "cpu"
    delay = re.search(r"max_queue_delay_microseconds: (\d+)", described["config.pbtxt"]["wav2vec2"])
    settings["max_queue_delay_us"] = int(delay[1]) if delay else 0
    count = re.search(r"instance_group \{\s*count: (\d+)", described["config.pbtxt"]["transcribe"])
    checkpoint = described["checkpoint"]
    return Defaults(
        settings=settings,
        checkpoint=f"{checkpoint['id']} ({checkpoint['revision']})",
        fronts=int(count[1]) if count else 1,
    )


def plan(named: Mapping[str, Sequence[Any]], defaults: Defaults) -> list[ServerSetting]:
    """Every combination of the named values; fields without one have the server's own value."""
    values = [named.get(name) or [defaults.settings[name]] for name in FIELDS]
    return [
        ServerSetting(**dict(zip(FIELDS, chosen, strict=True)))
        for chosen in itertools.product(*values)
    ]
