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

from asr_backend.server import guard, ports, triton
from asr_backend.server.access import read_access, warnings
from asr_backend.server.devices import gpu_count
from asr_backend.server.errors import StartError
from asr_backend.server.hub import locate
from asr_backend.server.output import log, say
from asr_backend.server.run_directory import SHARED_MEMORY, packaged_repository, render_configs
from asr_backend.server.settings import Parser, Settings, parse
from asr_backend.server.supervisor import Supervisor


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for what is wrong before Triton starts."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == ["convert"]:
            return _convert(argv[1:])
        command_line = parse(argv, os.environ)
        if command_line.print_config:
            return 0 if say(json.dumps(describe(command_line.settings), indent=2)) else 1
        return serve(command_line.settings)
    except StartError as error:
        print(f"asr-server: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the supervisor takes it for a stop, while it fetches say
        return 130


def serve(settings: Settings, *, packaged: Path | None = None) -> int:
    """Serves until stopped.

    Args:
        settings: of the server.
        packaged: a model repository in place of the package's own, for tests.

    Raises:
        StartError: for what is wrong before Triton starts.
    """
    packaged = packaged or packaged_repository()
    gpus = _gpus(settings)
    server = triton.find(settings.triton_root)
    access = read_access(settings)
    claimed = ports.claim(settings)
    source = locate(settings, fetch=True)
    configs = render_configs(packaged, settings, source, gpus=gpus)
    log(f"{source.id} ({source.revision}) on {f'{gpus} GPU' if gpus else 'CPU'}, {server.program}")
    if server.has_published_holes and not ports.is_loopback(settings.host):
        log(
            "warning: this Triton is older than 25.07, which repaired published holes, and it "
            f"listens beyond this machine ({settings.host}); let only trusted callers reach it, or "
            "run a later release's image"
        )
    if why := _lack_of_guard(server):
        log(f"warning: tritonserver runs without a guard, so any caller can end it: {why}")
    for warning in warnings(settings, access):
        log(f"warning: {warning}")
    if (free := shutil.disk_usage(SHARED_MEMORY).free) < 2 * settings.max_audio_bytes:
        log(
            f"warning: {SHARED_MEMORY} has {free >> 20} MiB free, less than two files of "
            f"--max-audio-bytes ({settings.max_audio_bytes >> 20} MiB); enlarge it or lower that"
        )
    return Supervisor(settings, server, claimed, access, packaged, configs).run()


def describe(settings: Settings) -> dict[str, object]:
    """What would run, as JSON values.

    Raises:
        StartError: for what would keep it from running.
    """
    packaged = packaged_repository()
    gpus = _gpus(settings)
    server = triton.find(settings.triton_root)
    access = read_access(settings)
    source = locate(settings, fetch=False)
    run_dir = Path(settings.run_dir or "RUN_DIR").expanduser()
    argv = triton.command_line(
        server,
        settings,
        ports.asked(settings),
        repository=run_dir / "models",
        backends=run_dir / "backends" if server.from_wheel else server.root / "backends",
        region_prefix="asr-server-RANDOM-",
        secret="RANDOM",
        access=dataclasses.replace(access, token="TOKEN" if access.token else ""),
    )
    env = triton.environment(server, os.environ) | {"TMPDIR": str(run_dir)}
    return {
        "settings": vars(settings),
        "checkpoint": {
            "path": str(source.path) if source.path else "to be fetched from the hub",
            "id": source.id,
            "revision": source.revision,
        },
        "gpus": gpus,
        "argv": argv,
        "env": {key: value for key, value in env.items() if os.environ.get(key) != value},
        "config.pbtxt": render_configs(packaged, settings, source, gpus=gpus),
    }


def _lack_of_guard(server: triton.Triton) -> str | None:
    if server.is_guarded:
        return guard.problem()
    return (
        "Triton has the check since 25.07, run such an image"
        if server.has_published_holes
        else None
    )


def _gpus(settings: Settings) -> int:
    gpus = 0 if settings.device == "cpu" else gpu_count()
    if settings.device == "cuda" and not gpus:
        raise StartError("--device cuda: no NVIDIA GPU is visible here")
    if gpus and settings.precision == "int8":
        raise StartError("--precision int8 is for the CPU; a GPU takes bf16, fp16 or fp32")
    if settings.compile:
        _check_compilation(settings, gpus)
    return gpus


def _check_compilation(settings: Settings, gpus: int) -> None:
    if not gpus and settings.precision in ("auto", "int8"):
        raise StartError(
            f"--compile with --precision {settings.precision}: a CPU compiles fp32, bf16 and fp16; "
            "name one of them, or leave --compile out"
        )
    with tempfile.TemporaryDirectory() as nothing_kept:
        tried = subprocess.run(
            [sys.executable, "-m", "asr_backend.engine.compilation"],
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": nothing_kept},
            capture_output=True,
            text=True,
            check=False,
        )
    if tried.returncode:
        why = tried.stdout.strip() or f"exit status {tried.returncode}"
        raise StartError(f"--compile: no working C++ compiler (g++, or what CXX names): {why}")


def _convert(argv: Sequence[str]) -> int:
    parser = Parser(
        prog="asr-server convert",
        description="Copies a checkpoint, its pickled weights rewritten as safetensors.",
    )
    parser.add_argument("src", type=Path, metavar="SRC", help="folder with pytorch_model.bin")
    parser.add_argument("dst", type=Path, metavar="DST", help="new folder")
    args = parser.parse_args(argv)
    # In a process of its own: what a pickle does, it does not do to a server.
    command = [sys.executable, "-m", "asr_backend.convert", str(args.src), str(args.dst)]
    status = subprocess.run(command, check=False).returncode
    if status < 0:
        raise StartError(f"convert was ended by {signal.Signals(-status).name}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
