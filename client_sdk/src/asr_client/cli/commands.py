"""The command's arguments, and what it does with them."""

from __future__ import annotations

import sys
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from asr_client._base import DEFAULT_MAX_AUDIO_BYTES
from asr_client._client import Client
from asr_client._options import TranscribeOptions
from asr_client._types import Channel, Timestamps
from asr_client.cli.auth import Tls, TlsCa, TlsCert, TlsKey, TokenFile, credentials
from asr_client.cli.batch import Stopped, transcribe_manifest
from asr_client.cli.files import Format, target_paths, transcribe_files
from asr_client.cli.manifest import ManifestError
from asr_client.cli.results import ResultsError
from asr_client.cli.screen import WaitingNotice
from asr_client.cli.status import StatusReport

DEFAULT_URL = "localhost:8001"
ON_STDOUT_TOGETHER = ("text", "json")
"""Formats of which several can follow each other on standard output."""
GO_ON = "run the same command again to go on"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Detail(str, Enum):
    """Which times JSON holds."""

    NONE = "none"
    WORD = "word"
    CHAR = "char"


class DecoderName(str, Enum):
    """How the server reads the text."""

    GREEDY = "greedy"
    BEAM = "beam"


Url = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="The server's gRPC address.", envvar="ASR_URL")
]
Concurrency = Annotated[int, typer.Option(min=1, help="Recordings in work at once.")]
Timeout = Annotated[float, typer.Option(help="Seconds for each recording.")]
MaxAudioBytes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Larger recordings are not sent; for servers whose limit is not the default.",
        envvar="ASR_MAX_AUDIO_BYTES",
    ),
]
ChannelName = Annotated[str, typer.Option(help='"mix", "separate" or an index.')]
Decoding = Annotated[DecoderName, typer.Option(help="How the server reads the text.")]
Hotwords = Annotated[
    list[str] | None,
    typer.Option("--hotword", help="A word that --decoder beam should expect; may be repeated."),
]
Language = Annotated[str | None, typer.Option(help="For checkpoints with language adapters.")]


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"asr {metadata.version('asr-client')}")
        raise typer.Exit


@app.callback()
def command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Transcribe recordings with a speech recognition server."""


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Audio files.")],
    url: Url = DEFAULT_URL,
    format: Annotated[Format, typer.Option(help="What is written.")] = Format.TEXT,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write one file for each recording into this folder.")
    ] = None,
    concurrency: Concurrency = 4,
    timeout: Timeout = 600.0,
    max_audio_bytes: MaxAudioBytes = DEFAULT_MAX_AUDIO_BYTES,
    timestamps: Annotated[Detail, typer.Option(help="Times in JSON.")] = Detail.WORD,
    channel: ChannelName = "mix",
    decoder: Decoding = DecoderName.GREEDY,
    hotwords: Hotwords = None,
    language: Language = None,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Transcribe audio files.

    Without --output-dir the transcripts go to standard output, in the files' order.
    The exit status is 1 when a file failed; all others are transcribed all the same.
    """
    if output_dir is None and len(files) > 1 and format.value not in ON_STDOUT_TOGETHER:
        raise _usage(f"--format {format.value} of several files needs --output-dir")
    times: dict[Format, Timestamps] = {Format.TEXT: "none", Format.JSON: timestamps.value}
    options: TranscribeOptions = {
        "timestamps": times.get(format, "word"),
        "channel": _channel(channel),
        **_decoding(decoder, hotwords, language),
    }
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        with Client(
            url,
            timeout_s=timeout,
            max_audio_bytes=max_audio_bytes,
            on_attempt=WaitingNotice(),
            **caller,
        ) as client:
            targets = None
            if output_dir is not None:
                targets = target_paths(files, output_dir, format)
                _make(output_dir)
            failed = transcribe_files(
                client, files, targets, format=format, concurrency=concurrency, options=options
            )
    except ValueError as error:
        raise _usage(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


@app.command()
def batch(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST.jsonl", help="A JSON object a line: audio, id, ...")
    ],
    output: Annotated[Path, typer.Option(metavar="RESULTS.jsonl", help="Where results go.")],
    url: Url = DEFAULT_URL,
    concurrency: Concurrency = 8,
    timeout: Timeout = 600.0,
    max_audio_bytes: MaxAudioBytes = DEFAULT_MAX_AUDIO_BYTES,
    timestamps: Annotated[Detail, typer.Option(help="Times in the results.")] = Detail.WORD,
    channel: ChannelName = "mix",
    decoder: Decoding = DecoderName.GREEDY,
    hotwords: Hotwords = None,
    language: Language = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try lines again that failed in an earlier run.")
    ] = False,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Transcribe the recordings of a manifest, and go on where an earlier run was stopped.

    Each line of the manifest holds "audio", a path relative to the manifest, and may hold "id" and
    options of its own. Each gets one line in the results, in the order in which they finish.

    The exit status is 0 when every line has a transcript, 1 when lines failed, 3 when the work was
    stopped by the server or the disk, and 130 by Ctrl-C: the same command then goes on.
    """
    options: TranscribeOptions = {
        "timestamps": timestamps.value,
        "channel": _channel(channel),
        **_decoding(decoder, hotwords, language),
    }
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        with Client(
            url,
            timeout_s=timeout,
            max_audio_bytes=max_audio_bytes,
            on_attempt=WaitingNotice(),
            **caller,
        ) as client:
            whole = transcribe_manifest(
                client, manifest, output, retry_failed=retry_failed, concurrency=concurrency,
                options=options,
            )  # fmt: skip
    except (ManifestError, ResultsError, ValueError) as error:
        raise _usage(str(error)) from error
    except Stopped as stopped:
        print(f"asr: stopped: {stopped}; {GO_ON}", file=sys.stderr)
        raise typer.Exit(3) from None
    except KeyboardInterrupt:
        print(f"asr: stopped; {GO_ON}", file=sys.stderr)
        raise typer.Exit(130) from None
    raise typer.Exit(0 if whole else 1)


@app.command()
def status(
    url: Url = DEFAULT_URL,
    health_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="asr-server's health address; port 8003 of the same host is tried by itself.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for answers.")] = 5.0,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Say whether the server is ready, and whether it answers a short recording.

    The exit status is 1 when it does not, or when its supervisor says that it is not ready.
    """
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        report = StatusReport(url, health_url=health_url, timeout_s=timeout, caller=caller)
    except ValueError as error:
        raise _usage(str(error)) from error
    for line in report.lines():
        print(line)
    raise typer.Exit(0 if report.ready else 1)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _usage(f"--output-dir {folder}: {error.strerror}") from None


def _channel(text: str) -> Channel:
    options: dict[str, Literal["mix", "separate"]] = {"mix": "mix", "separate": "separate"}
    if text in options:
        return options[text]
    if not text.isdecimal():
        raise _usage(f'--channel {text} is not "mix", "separate" or an index')
    return int(text)


def _decoding(
    decoder: DecoderName, hotwords: list[str] | None, language: str | None
) -> TranscribeOptions:
    return {"decoder": decoder.value, "hotwords": hotwords or None, "language": language}


def _usage(message: str) -> typer.Exit:
    print(f"asr: {message}", file=sys.stderr)
    return typer.Exit(2)
