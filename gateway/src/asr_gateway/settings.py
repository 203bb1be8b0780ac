"""The flags of asr-gateway: one table gives defaults, command line, ASR_GATEWAY_* and docs."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from asr_gateway import __version__, cors
from asr_gateway.console import StartError
from asr_gateway.store.database import POSTGRESQL, SQLITE, sqlite_file, without_password

ENV_PREFIX = "ASR_GATEWAY_"
DEFAULT_STORE = "~/.local/state/asr-gateway/store.sqlite3"


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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a gateway is started with.

    The field `http_port` is the flag --http-port and the variable ASR_GATEWAY_HTTP_PORT; the flag
    overrides the variable.
    """

    server: str = _flag(
        "",
        "HOST:PORT of asr-server's gRPC endpoint, or several with commas between them",
        shown_default="none, it is required",
    )
    host: str = _flag(
        "127.0.0.1",
        "address to listen on; an address other than loopback needs --keys or --no-keys",
    )
    http_port: int = _flag(8080, "port to listen on; 0 takes a free one", low=0, high=65535)
    store: str = _flag(
        "",
        "database of jobs and recognition log: sqlite:///FILE or postgresql+psycopg://…",
        shown_default=f"sqlite:///{DEFAULT_STORE}",
    )
    blobs: str = _flag(
        "",
        "folder of the recordings of jobs, shared by all gateways of one store, and by no other",
        shown_default="beside the SQLite file, FILE-blobs; required with PostgreSQL",
    )
    keys: str = _flag("", "JSON file of the keys that callers need", shown_default="no keys")
    no_keys: bool = _flag(
        False,
        "accept callers without a key on an address other than loopback",
        shown_default="off; the variable takes 1 and 0",
    )
    cors: str = _flag(
        "",
        "origins of web pages that may call, such as https://app.example, with commas between them",
        shown_default="the gateway's own pages alone",
    )
    tls_cert: str = _flag(
        "", "PEM file with the gateway's certificate: HTTPS alone", shown_default="plain HTTP"
    )
    tls_key: str = _flag("", "PEM file with its private key", shown_default="none")
    server_token_file: str = _flag(
        "", "file with the token that asr-server asks for", shown_default="no token"
    )
    server_ca: str = _flag(
        "",
        "PEM file with the authority of asr-server's certificate: TLS to asr-server",
        shown_default="no TLS",
    )
    language: str = _flag("en-US", "language of the checkpoint, or of its default adapter")
    model_alias: str = _flag(
        "whisper-1", "more names for the served model, with commas between them"
    )
    decoder: str = _flag(
        "auto",
        "decoder; auto is beam for requests with keywords and on an asr-server with a language "
        "model, and greedy otherwise",
        choices=("auto", "greedy", "beam"),
    )
    log_text: bool = _flag(
        False,
        "keep transcripts in the recognition log",
        shown_default="off; the variable takes 1 and 0",
    )
    keep_log_s: float = _flag(
        2_592_000.0, "seconds that the recognition log keeps an entry", low=1, high=1e10
    )
    keep_text_s: float = _flag(
        86_400.0, "seconds that --log-text and --cache-bytes keep a transcript", low=1, high=1e10
    )
    cache_bytes: int = _flag(
        0,
        "bytes of results that the store keeps to answer equal requests again",
        low=0,
        high=2**50,
        shown_default="0: off",
    )
    keep_jobs_s: float = _flag(
        86_400.0, "seconds that an ended job and its result are kept", low=1, high=1e10
    )
    max_jobs_at_once: int = _flag(
        2, "jobs of this gateway at asr-server at once, beside the requests", low=1, high=10_000
    )
    job_timeout_s: float = _flag(
        3600.0, "longest recognition of a job, seconds", low=0.1, high=86_400
    )
    allow_urls: bool = _flag(
        False,
        "let a job name a url instead of a file",
        shown_default="off; the variable takes 1 and 0",
    )
    allow_private_urls: bool = _flag(
        False,
        "let url and webhook_url lead to private and loopback addresses",
        shown_default="off; the variable takes 1 and 0",
    )
    min_free_bytes: int = _flag(
        1_073_741_824,
        "room that jobs leave on the disks of --blobs and a SQLite file, bytes",
        low=0,
        high=2**63 - 1,
    )
    max_upload_bytes: int = _flag(268_435_456, "largest audio file, bytes", low=1, high=2**31 - 1)
    max_connections: int = _flag(1000, "HTTP connections at once", low=1, high=1_000_000)
    max_at_once: int = _flag(
        64, "recordings at asr-server at once; further ones wait", low=1, high=100_000
    )
    timeout_s: float = _flag(
        600.0, "longest upload, and longest recognition, seconds", low=0.1, high=86_400
    )
    exit_timeout_s: float = _flag(
        60.0, "seconds that requests in flight may take to finish at a stop", low=0, high=86_400
    )

    @property
    def aliases(self) -> tuple[str, ...]:
        """The names of `--model-alias`."""
        return tuple(name.strip() for name in self.model_alias.split(",") if name.strip())

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of `--server`."""
        return tuple(part.strip() for part in self.server.split(",") if part.strip())

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins of `--cors`.

        Raises:
            StartError: one of them is no origin.
        """
        return cors.origins(self.cors)

    @property
    def store_url(self) -> str:
        """The database's URL, with the default resolved."""
        return self.store or f"sqlite:///{Path(DEFAULT_STORE).expanduser()}"

    @property
    def blobs_folder(self) -> Path:
        """The folder of the jobs' recordings, with the default resolved."""
        if self.blobs:
            return Path(self.blobs).expanduser()
        file = sqlite_file(self.store_url)
        return file.with_name(f"{file.name}-blobs")


FIELDS = dataclasses.fields(Settings)


def flag_name(field: dataclasses.Field[Any]) -> str:
    """`--http-port` for the field `http_port`."""
    return "--" + field.name.replace("_", "-")


def env_name(field: dataclasses.Field[Any]) -> str:
    """`ASR_GATEWAY_HTTP_PORT` for the field `http_port`."""
    return ENV_PREFIX + field.name.upper()


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line."""

    settings: Settings
    print_config: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StartError(f"{message}; see {self.prog} --help")


def parse(argv: Sequence[str], env: Mapping[str, str]) -> CommandLine:
    """Settings from flags and ASR_GATEWAY_* variables; an empty variable counts as unset.

    Raises:
        StartError: an unknown flag, a value out of its range, or flags that contradict each other.
    """
    parser = _Parser(
        prog="asr-gateway",
        description="Serves OpenAI's transcription API in front of asr-server until it is stopped.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"asr-gateway {__version__}")
    parser.add_argument(
        "--print-config", action="store_true", help="print the settings as JSON and stop"
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
    values: dict[str, Any] = {}
    for field in FIELDS:
        if given[field.name] is not None:
            values[field.name] = _value(field, given[field.name], flag_name(field))
        elif env.get(env_name(field)):
            values[field.name] = _value(field, env[env_name(field)], env_name(field))
    return CommandLine(_consistent(Settings(**values)), given["print_config"])


def _consistent(settings: Settings) -> Settings:
    """Refuse flags that contradict each other."""
    if not settings.servers:
        raise StartError("--server is missing: HOST:PORT of asr-server's gRPC endpoint")
    cors.origins(settings.cors)
    if settings.keys and settings.no_keys:
        raise StartError("--keys and --no-keys exclude each other")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise StartError("--tls-cert and --tls-key belong together")
    if not settings.store_url.startswith((SQLITE, POSTGRESQL)):
        shown = without_password(settings.store)
        raise StartError(f"--store {shown!r}: not {SQLITE}FILE or {POSTGRESQL}…")
    if settings.store_url.startswith(POSTGRESQL) and not settings.blobs:
        raise StartError("--blobs is missing: PostgreSQL needs a folder for recordings of jobs")
    return settings


def _value(field: dataclasses.Field[Any], text: str, source: str) -> str | int | float | bool:
    kind: type[Any] = type(field.default)
    if kind is bool:
        if text not in ("0", "1"):
            raise StartError(f"{source} {text!r}: it is 1 or 0")
        return text == "1"
    limits = field.metadata
    if limits["choices"] and text not in limits["choices"]:
        raise StartError(f"{source} {text!r}: it is {' or '.join(limits['choices'])}")
    if kind is str:
        return text
    noun = "a whole number" if kind is int else "a number"
    wanted = f"{noun} from {limits['low']:.16g} to {limits['high']:.16g}"
    try:
        value: int | float = kind(text)
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
