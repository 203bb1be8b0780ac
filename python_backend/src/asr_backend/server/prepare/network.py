"""The precision and the prepared network that `wav2vec2` starts with.

On a CPU, `--precision auto` is measured once for a checkpoint and a machine, by another process
(acoustic/engine/preparing.py). What it found and prepared is kept in --cache-dir.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr_backend.acoustic.precision import PRECISIONS, cpu_description
from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.prepared import Entry
from asr_backend.server.errors import StartError
from asr_backend.server.prepare.cache_directory import CacheDirectory
from asr_backend.server.prepare.devices import Gpus, resolved_precision
from asr_backend.server.prepare.identity import Identity
from asr_backend.server.settings import Settings

_PREPARE = (sys.executable, "-m", "asr_backend.acoustic.engine.preparing")
_TIMEOUT_S = 600.0
"""A large checkpoint on a slow disk takes a minute."""
_PREPARED = ("auto", "bf16", "int8")
"""Settings that have something to prepare on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """How `wav2vec2` starts.

    Attributes:
        precision: of the network, not "auto".
        measured: how `auto` found it, a line for people; "" if it did not measure.
        folder: of the prepared network; None where the process loads the checkpoint itself.
        notes: lines for the log.
    """

    precision: str
    measured: str = ""
    folder: Path | None = None
    notes: tuple[str, ...] = ()


def prepare_network(
    settings: Settings,
    checkpoint: Checkpoint | None,
    identity: Identity | None,
    gpus: Gpus,
    env: Mapping[str, str],
) -> Network:
    """Take what --cache-dir has for the checkpoint; measure and prepare what it lacks.

    If this fails, `wav2vec2` loads the checkpoint itself.

    Args:
        settings: of asr-server.
        checkpoint: to be served; None for one that is not fetched yet.
        identity: of the checkpoint.
        gpus: that wav2vec2 runs on. On a GPU nothing is measured or prepared.
        env: the environment that the models will run in.

    Raises:
        StartError: the checkpoint cannot be served, or not in the precision that was named.
    """
    usual = Network(precision=resolved_precision(settings.precision, gpus))
    if gpus.indices or checkpoint is None or identity is None or not _is_worth_it(settings):
        return usual
    key = _key(settings, identity)
    try:
        cache = CacheDirectory(
            Path(settings.cache_dir or Settings.cache_dir).expanduser().absolute()
        )
    except (OSError, RuntimeError) as error:
        return _without_cache(settings, checkpoint, env, usual, _reason(error))
    if entry := _usable(cache.read(key), settings):
        return _kept(cache, entry)
    try:
        with cache.unfinished() as folder:
            answer = _ask(settings, checkpoint, env, folder=str(folder), key=key)
            if answer.precision and (entry := _usable(cache.publish(folder, key), settings)):
                return _kept(cache, entry, answer.notes)
            return Network(
                precision=answer.precision or usual.precision,
                measured=answer.measured,
                notes=answer.notes,
            )
    except OSError as error:
        return _without_cache(settings, checkpoint, env, usual, _reason(error))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """See Answer in acoustic/engine/preparing.py."""

    precision: str = ""
    measured: str = ""
    notes: tuple[str, ...] = ()


def _is_worth_it(settings: Settings) -> bool:
    if settings.precision == "auto":
        return True
    return settings.precision in _PREPARED and importlib.util.find_spec("openvino") is not None


def _key(settings: Settings, identity: Identity) -> str:
    """Of all that a measurement or a prepared network depends on."""
    parts: dict[str, object] = {
        "network": identity.network,
        "precision": settings.precision,
        "cpu": cpu_description(),
    }
    if settings.precision == "auto":
        parts["threads"] = settings.effective_threads
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _usable(entry: Entry | None, settings: Settings) -> Entry | None:
    """The entry, if its precision is one that the setting allows."""
    allowed = PRECISIONS if settings.precision == "auto" else (settings.precision,)
    return entry if entry and entry.precision in allowed else None


def _kept(cache: CacheDirectory, entry: Entry, notes: tuple[str, ...] = ()) -> Network:
    return Network(
        precision=entry.precision,
        measured=entry.measured,
        folder=cache.place(entry.key) if entry.files else None,
        notes=notes,
    )


def _without_cache(
    settings: Settings,
    checkpoint: Checkpoint,
    env: Mapping[str, str],
    usual: Network,
    reason: str,
) -> Network:
    """Measure, where that is asked for, and keep nothing."""
    warning = (
        f"warning: --cache-dir {settings.cache_dir} cannot be used ({reason}); nothing is kept "
        "there, and each start takes longer"
    )
    if settings.precision != "auto":
        return Network(precision=usual.precision, notes=(warning,))
    answer = _ask(settings, checkpoint, env, folder="", key="")
    return Network(
        precision=answer.precision or usual.precision,
        measured=answer.measured,
        notes=(warning, *answer.notes),
    )


def _ask(
    settings: Settings, checkpoint: Checkpoint, env: Mapping[str, str], *, folder: str, key: str
) -> _Answer:
    """The answer of the process that measures and prepares; an empty one where it fails.

    Raises:
        StartError: it refuses the checkpoint.
    """
    request = {
        "checkpoint": str(checkpoint.path),
        "blank_id": checkpoint.blank_id,
        "precision": settings.precision,
        "threads": settings.effective_threads,
        "folder": folder,
        "key": key,
    }
    try:
        done = subprocess.run(
            [*_PREPARE, json.dumps(request)],
            env=dict(env),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failed(f"no answer within {_TIMEOUT_S:g} s")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        refused = str(found["refused"])
        answer = _Answer(
            precision=str(found["precision"]),
            measured=str(found["measured"]),
            notes=tuple(map(str, found["notes"])),
        )
    except (IndexError, ValueError, LookupError, TypeError):
        words = done.stderr.strip().splitlines()
        return _failed(words[-1] if words else f"exit status {done.returncode}")
    if refused:
        raise StartError(f"--model: {refused}")
    return answer


def _failed(reason: str) -> _Answer:
    return _Answer(notes=(f"warning: the network could not be prepared: {reason}",))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
