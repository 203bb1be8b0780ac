"""The command asr-server."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asr_backend.server.console import log, one_line, say
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import guard, ports, tritonserver
from asr_backend.server.prepare.addresses import is_loopback, resolved
from asr_backend.server.prepare.checkpoint_source import Source, locate
from asr_backend.server.prepare.credentials import Access, read_access, warnings
from asr_backend.server.prepare.devices import Gpus, find_gpus
from asr_backend.server.prepare.identity import Identity, identify
from asr_backend.server.prepare.network import Network, prepare_network
from asr_backend.server.prepare.run_directory import (
    SHARED_MEMORY,
    check_run_dir,
    packaged_repository,
    render_configs,
)
from asr_backend.server.settings import Parser, Settings, parse
from asr_backend.server.supervise.process import PrecisionRefusedError
from asr_backend.server.supervise.supervisor import Supervisor

# How often a free port that another program takes is replaced.
_PORT_TRIES = 3


def main(argv: Sequence[str] | None = None, *, packaged: Path | None = None) -> int:
    """Runs the command; returns its exit status, 2 for an error before it serves.

    Args:
        argv: the arguments; None takes those of this process.
        packaged: a model repository in place of the package's own, for tests.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == ["convert"]:
            return _convert(argv[1:])
        command_line = parse(argv, os.environ)
        if command_line.print_config:
            return 0 if say(json.dumps(describe(command_line.settings), indent=2)) else 1
        return serve(command_line.settings, packaged=packaged)
    except StartError as error:
        print(f"asr-server: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # Before the supervisor handles it, during a download for example.
        return 130


def serve(settings: Settings, *, packaged: Path | None = None) -> int:
    """Serves until stopped.

    Args:
        settings: of the server.
        packaged: a model repository in place of the package's own, for tests.

    Raises:
        StartError: for any error before Triton starts.
    """
    packaged = packaged or packaged_repository()
    settings = resolved(settings)
    server = tritonserver.find(settings.triton_root)
    access = read_access(settings)
    check_run_dir(settings.run_dir)
    gpus = _gpus(settings, server)
    # Report a taken port before minutes of downloading a checkpoint.
    with ports.reserve(settings):
        source, identity = _identified(locate(settings, fetch=True), settings, gpus)
    network = _network(settings, server, source, identity, gpus)
    log(f"loading {source.id} ({source.revision}) on {gpus}, with {server.program}")
    for warning in [*source.warnings, *([gpus.note] if gpus.note else [])]:
        log(f"warning: {warning}")
    _warn(settings, server, access)
    for note in network.notes:
        log(note)
    if settings.precision == "auto":
        log(f"auto takes {network.precision}{f', {network.measured}' * bool(network.measured)}")
    tries = 0
    while True:
        tries += 1
        configs = render_configs(
            *(packaged, settings, source),
            gpus=gpus.indices,
            precision=network.precision,
            prepared=network.folder,
            identity=identity,
        )
        with ports.reserve(settings) as reserved:
            try:
                return Supervisor(settings, server, reserved, access, packaged, configs).run()
            except ports.PortLostError as lost:
                if tries == _PORT_TRIES or getattr(ports.asked(settings), lost.use):
                    raise
                log(f"{lost}; starting again with another port")
            except PrecisionRefusedError as refused:
                tries -= 1
                if settings.precision != "auto":
                    raise
                network = Network(precision=refused.exacter)
                log(
                    f"auto takes {network.precision}, and starts again; --precision "
                    f"{network.precision} saves that"
                )


def _identified(source: Source, settings: Settings, gpus: Gpus) -> tuple[Source, Identity | None]:
    """The source with its revision, and what there is to say of the model."""
    if source.checkpoint is None:
        return source, None
    identity = identify(source.checkpoint, source.ngrams, settings, gpus)
    return dataclasses.replace(source, revision=identity.model_revision), identity


def _network(
    settings: Settings,
    server: tritonserver.Triton,
    source: Source,
    identity: Identity | None,
    gpus: Gpus,
) -> Network:
    env = tritonserver.environment(server, os.environ)
    return prepare_network(settings, source.checkpoint, identity, gpus, env)


def _warn(settings: Settings, server: tritonserver.Triton, access: Access) -> None:
    if server.has_published_holes and not is_loopback(settings.host):
        log(
            "warning: this Triton is older than 25.07 and has published security holes, and it "
            f"listens on {settings.host}, beyond this machine; let only trusted callers reach it, "
            "or run the image of a later release"
        )
    if why := _lack_of_guard(server):
        log(f"warning: tritonserver runs without a guard, so any caller can crash it: {why}")
    for warning in warnings(settings, access):
        log(f"warning: {warning}")
    if (free := shutil.disk_usage(SHARED_MEMORY).free) < 2 * settings.max_audio_bytes:
        log(
            f"warning: {SHARED_MEMORY} has {free >> 20} MiB free, less than two files of "
            f"--max-audio-bytes ({settings.max_audio_bytes >> 20} MiB); enlarge it, or lower that"
        )


def describe(settings: Settings) -> dict[str, object]:
    """What would run, as JSON values.

    Raises:
        StartError: for anything that would keep the server from starting.
    """
    packaged = packaged_repository()
    settings = resolved(settings)
    server = tritonserver.find(settings.triton_root)
    access = read_access(settings)
    check_run_dir(settings.run_dir)
    gpus = _gpus(settings, server)
    with ports.reserve(settings):
        source, identity = _identified(locate(settings, fetch=False), settings, gpus)
    network = _network(settings, server, source, identity, gpus)
    run_dir = Path(settings.run_dir or "RUN_DIR").expanduser()
    argv = tritonserver.command_line(
        server,
        settings,
        ports.asked(settings),
        repository=run_dir / "models",
        backends=run_dir / "backends" if server.from_wheel else server.root / "backends",
        region_prefix="asr-server-RANDOM-",
        secret="RANDOM",
        access=dataclasses.replace(access, token="TOKEN" if access.token else ""),
    )
    env = tritonserver.environment(server, os.environ) | {"TMPDIR": str(run_dir)}
    return {
        # 0 means that the server chooses.
        "settings": vars(settings)
        | {"frontends": settings.effective_frontends, "threads": settings.effective_threads},
        "checkpoint": {
            "path": str(source.path) if source.path else "to be fetched from the hub",
            "id": source.id,
            "revision": source.revision,
        },
        "warnings": [*source.warnings, *([gpus.note] if gpus.note else [])],
        "gpus": vars(gpus),
        "precision": {
            "chosen": network.precision,
            "measured": network.measured,
            "notes": list(network.notes),
        },
        "argv": argv,
        "env": {key: value for key, value in env.items() if os.environ.get(key) != value},
        "config.pbtxt": render_configs(
            *(packaged, settings, source),
            gpus=gpus.indices,
            precision=network.precision,
            prepared=network.folder,
            identity=identity,
        ),
    }


def _lack_of_guard(server: tritonserver.Triton) -> str | None:
    if server.is_guarded:
        return guard.problem()
    return (
        "run an image of 25.07 or later, which has the check itself"
        if server.has_published_holes
        else None
    )


def _gpus(settings: Settings, server: tritonserver.Triton) -> Gpus:
    gpus = find_gpus(settings.device, tritonserver.environment(server, os.environ))
    if gpus.indices and settings.precision == "int8":
        raise StartError("--precision int8 is for the CPU; a GPU takes bf16, fp16 or fp32")
    if settings.compile:
        _check_compilation(settings, gpus)
    return gpus


def _check_compilation(settings: Settings, gpus: Gpus) -> None:
    if not gpus.indices:
        raise StartError(
            "--compile is for a GPU; on a CPU compiled layers are no faster, leave --compile out"
        )
    with tempfile.TemporaryDirectory() as nothing_kept:
        tried = subprocess.run(
            [sys.executable, "-m", "asr_backend.acoustic.engine.compilation"],
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": nothing_kept},
            capture_output=True,
            text=True,
            check=False,
        )
    if tried.returncode:
        why = tried.stdout.strip() or f"exit status {tried.returncode}"
        raise StartError(f"--compile: torch cannot compile for this GPU: {why}")


def _convert(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="asr-server convert",
        description="Copies a checkpoint, its pickled weights rewritten as safetensors.",
    )
    parser.add_argument("src", type=Path, metavar="SRC", help="folder with pytorch_model.bin")
    parser.add_argument("dst", type=Path, metavar="DST", help="new folder")
    args = parser.parse_args(argv)
    # In a process of its own: a pickle may run code.
    command = [sys.executable, "-m", "asr_backend.checkpoint.convert", str(args.src), str(args.dst)]
    status = subprocess.run(command, check=False).returncode
    if status < 0:
        raise StartError(f"convert was killed by {signal.Signals(-status).name}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
