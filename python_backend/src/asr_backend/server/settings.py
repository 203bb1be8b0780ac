"""The flags of asr-server: one table for defaults, command line, ASR_* variables and docs."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from asr_backend import __version__
from asr_backend.server.console import say
from asr_backend.server.errors import StartError

ENV_PREFIX = "ASR_"


def _flag(
    default: str | int | float | bool,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    shown_default: str = "",
) -> Any:
    """A field of the table; `low` and `high` are inclusive bounds."""
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "shown_default": shown_default or str(default).removesuffix(".0"),
    }
    return dataclasses.field(default=default, metadata=metadata)


def _port(default: int, help: str) -> Any:
    return _flag(default, help, low=0, high=65535)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a server.

    A field `max_window_s` is the flag --max-window-s and the variable ASR_MAX_WINDOW_S; the flag
    wins over the variable.
    """

    model: str = _flag(
        "",
        "checkpoint: a folder in Hugging Face format, or a hub id such as "
        "facebook/wav2vec2-base-960h",
        shown_default="the embedded demo",
    )
    revision: str = _flag("main", "branch, tag or commit of a hub checkpoint")
    blank_id: int = _flag(
        -1,
        "id of the checkpoint's CTC blank, where config.json and the tokenizer disagree about it",
        low=-1,
        high=1_000_000,
        shown_default="-1: the tokenizer's padding token",
    )
    lm: str = _flag(
        "",
        "KenLM language model for beam search: an .arpa or .bin file, or a folder with one",
        shown_default="the checkpoint's own, where it has one",
    )
    device: str = _flag(
        "auto",
        "where wav2vec2 runs: auto takes every GPU, and the CPU where there is none",
        choices=("auto", "cpu", "cuda"),
    )
    instances: int = _flag(1, "wav2vec2 processes on each device", low=1, high=64)
    frontends: int = _flag(
        0,
        "transcribe processes, which decode audio",
        low=0,
        high=256,
        shown_default="0: one a core, at least 2, at most 4",
    )
    stream_frontends: int = _flag(
        2,
        "transcribe_stream processes, for live recognition; 0 leaves the model out",
        low=0,
        high=256,
    )
    threads: int = _flag(
        0,
        "CPU threads of each wav2vec2 process",
        low=0,
        high=1024,
        shown_default="0: cores / instances",
    )
    precision: str = _flag(
        "auto",
        "arithmetic of the network; auto is bf16 or fp16 on a GPU that has it, and on a CPU the "
        "fastest that is accurate enough, measured once",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
    )
    compile: bool = _flag(
        False,
        "compile the network's layers while it loads; for a GPU, refused on a CPU",
        shown_default="off; the variable takes 1 and 0",
    )
    max_batch_size: int = _flag(32, "windows in one batch of wav2vec2", low=1, high=4096)
    max_batch_audio_s: float = _flag(
        0.0,
        "seconds of audio in one forward, padding included; a longer window goes alone",
        low=0,
        high=100_000,
        shown_default="0: 30 on a CPU, 320 on a GPU",
    )
    gpu_memory_fraction: float = _flag(
        0.9,
        "share of each GPU's memory that all wav2vec2 processes on it together may take",
        low=0.01,
        high=1,
    )
    max_queue_delay_us: int = _flag(
        -1,
        "microseconds that a window waits for others to share its batch",
        low=-1,
        high=10_000_000,
        shown_default="-1: 0 on a CPU, 2000 on a GPU",
    )
    max_queue_size: int = _flag(
        256,
        "recordings that may wait in transcribe's queue; more are refused",
        low=1,
        high=1_000_000,
    )
    max_window_s: float = _flag(
        20.0, "longest window, seconds of audio in one pass of the network", low=1, high=600
    )
    max_audio_s: float = _flag(
        7200.0, "longest audio of one call, seconds", low=0.1, high=1_000_000
    )
    max_audio_bytes: int = _flag(
        268_435_456, "largest file of one call, bytes", low=1, high=2_147_483_647
    )
    max_audio_samples: int = _flag(
        2_147_483_648,
        "maximum samples of one call: rate times channels times seconds",
        low=1,
        high=1_000_000_000_000,
    )
    max_channels_audio_s: float = _flag(
        57_600.0,
        "maximum channels times seconds of one call with separate channels",
        low=0.1,
        high=1_000_000_000,
    )
    max_beam_work: float = _flag(
        720_000.0, "maximum beam width times seconds of one call", low=1, high=1_000_000_000
    )
    host: str = _flag(
        "127.0.0.1", "address that gRPC and HTTP listen on: IPv4, IPv6, or a name of one"
    )
    admin_host: str = _flag(
        "127.0.0.1",
        "address that metrics and health listen on; they have neither TLS nor a token",
    )
    grpc_port: int = _port(8001, "gRPC; 0 takes a free port")
    http_port: int = _port(0, "Triton's HTTP; 0 leaves it off")
    metrics_port: int = _port(8002, "Triton's metrics; 0 takes a free port")
    health_port: int = _port(
        8003, "/livez, /readyz and /metrics of asr-server; 0 takes a free port"
    )
    tls_cert: str = _flag(
        "",
        "PEM file with the server's certificate: gRPC then speaks TLS only",
        shown_default="no TLS",
    )
    tls_key: str = _flag(
        "", "PEM file with the private key of that certificate", shown_default="none"
    )
    tls_ca: str = _flag(
        "",
        "PEM file with the authorities that sign callers' certificates, which are then required",
        shown_default="callers need no certificate",
    )
    token_file: str = _flag(
        "",
        "file with the token that callers must send; its group may read it, others must have no "
        "access",
        shown_default="no token",
    )
    exit_timeout_s: float = _flag(
        60.0, "seconds that calls in flight may take to finish at a stop", low=0, high=86_400
    )
    run_dir: str = _flag(
        "",
        "folder under which the server's private folder is made and removed; recordings of more "
        "than 1 MiB lie in it while they are processed",
        shown_default="the system's temporary folder",
    )
    cache_dir: str = _flag(
        "~/.cache/asr-server",
        "folder for what was measured and prepared for a checkpoint; nobody else may be able to "
        "write there",
    )
    triton_root: str = _flag(
        "",
        "folder with bin/tritonserver",
        shown_default="/opt/tritonserver where it fits this Python, else the wheel's",
    )

    @property
    def effective_frontends(self) -> int:
        """Instances of transcribe, with 0 resolved."""
        return self.frontends or max(2, min(4, core_count()))

    @property
    def effective_threads(self) -> int:
        """Threads of a wav2vec2 instance, with 0 resolved."""
        return self.threads or max(1, core_count() // self.instances)


FIELDS = dataclasses.fields(Settings)


def flag_name(field: dataclasses.Field[Any]) -> str:
    """`--max-window-s` for the field `max_window_s`."""
    return "--" + field.name.replace("_", "-")


def env_name(field: dataclasses.Field[Any]) -> str:
    """`ASR_MAX_WINDOW_S` for the field `max_window_s`."""
    return ENV_PREFIX + field.name.upper()


def core_count() -> int:
    """CPU cores this process may use: its affinity, or a container's quota if that is less."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    settings: Settings
    print_config: bool


class Parser(argparse.ArgumentParser):
    """A parser that raises StartError instead of printing usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """What argparse calls for anything wrong."""
        raise StartError(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """What argparse calls for --help."""
        if not say(self.format_help()):
            self.exit(1)


def parse(argv: Sequence[str], env: Mapping[str, str]) -> CommandLine:
    """Settings from flags and ASR_* variables; an empty variable counts as unset.

    Raises:
        StartError: for an unknown flag or a value out of its range.
    """
    parser = Parser(
        prog="asr-server",
        description="Serves speech recognition with NVIDIA Triton until it is stopped.",
        epilog="asr-server convert SRC DST rewrites a checkpoint's pickled weights as safetensors.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"asr-server {__version__}")
    parser.add_argument(
        "--print-config", action="store_true", help="print what would run, as JSON, and stop"
    )
    for field in FIELDS:
        shown = field.metadata["shown_default"]
        help = f"{field.metadata['help']} (default {shown}; {env_name(field)})"
        if field.type == "bool":
            parser.add_argument(flag_name(field), action="store_const", const="1", help=help)
            continue
        metavar = "|".join(field.metadata["choices"]) or field.name.rsplit("_", 1)[-1].upper()
        parser.add_argument(flag_name(field), metavar=metavar, help=help)
    given = vars(parser.parse_args(argv))
    values: dict[str, str | int | float | bool] = {}
    for field in FIELDS:
        if given[field.name] is not None:
            values[field.name] = _value(field, given[field.name], flag_name(field))
        elif env.get(env_name(field)):
            values[field.name] = _value(field, env[env_name(field)], env_name(field))
    return CommandLine(Settings(**values), given["print_config"])  # type: ignore[arg-type]


def _value(field: dataclasses.Field[Any], text: str, source: str) -> str | int | float | bool:
    kind: type[str] | type[int] | type[float] = type(field.default)  # type: ignore[assignment]
    if field.type == "bool":
        if text not in ("0", "1"):
            raise StartError(f"{source} {text!r}: it is 1 or 0")
        return text == "1"
    limits = field.metadata
    if limits["choices"] and text not in limits["choices"]:
        raise StartError(
            f"{source} {text!r}: not supported, it is {' or '.join(limits['choices'])}"
        )
    if kind is str:
        return text
    noun = "a whole number" if kind is int else "a number"
    wanted = f"{noun} from {limits['low']} to {limits['high']}"
    try:
        value = float(text) if kind is float else int(text)
    except ValueError:
        raise StartError(f"{source} {text!r}: not {wanted}") from None
    if not limits["low"] <= value <= limits["high"]:
        raise StartError(f"{source} {text}: out of range, it is {wanted}")
    return value


def markdown() -> str:
    """The table of flags for the documentation."""
    rows = ["| flag | variable | default | meaning |", "|---|---|---|---|"]
    for field in FIELDS:
        choices = "\\|".join(field.metadata["choices"])
        flag = f"`{flag_name(field)}" + (f" {choices}`" if choices else "`")
        default, help = field.metadata["shown_default"], field.metadata["help"]
        rows.append(f"| {flag} | `{env_name(field)}` | {default} | {help} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown())
