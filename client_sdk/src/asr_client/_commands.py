"""The command's arguments, and what it does with them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from asr_client import _many, _readyz, _subtitles
from asr_client._async_client import AsyncClient
from asr_client._client import Client
from asr_client._credentials import (
    Credentials,
    Tls,
    TlsCa,
    TlsCert,
    TlsKey,
    TokenFile,
    credentials,
)
from asr_client._errors import AsrError
from asr_client._screen import Screen
from asr_client._types import Channel, Timestamps, Transcript

DEFAULT_URL = "localhost:8001"
ON_STDOUT_TOGETHER = ("text", "json")
"""Formats of which several can follow each other on standard output."""

app = typer.Typer(
    help="Transcribe recordings with a speech recognition server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Format(str, Enum):
    """How a transcript is written."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


class Detail(str, Enum):
    """Which times JSON holds."""

    NONE = "none"
    WORD = "word"
    CHAR = "char"


Url = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="The server's gRPC address.", envvar="ASR_URL")
]


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Audio files.")],
    url: Url = DEFAULT_URL,
    format: Annotated[Format, typer.Option(help="What is written.")] = Format.TEXT,
    output_dir: Annotated[
        Path | None, typer.Option(help="Write one file for each recording into this folder.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Recordings in work at once.")] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds for each recording.")] = 600.0,
    timestamps: Annotated[Detail, typer.Option(help="Times in JSON.")] = Detail.WORD,
    channel: Annotated[str, typer.Option(help='"mix", "separate" or an index.')] = "mix",
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
    if output_dir is None:
        if len(files) > 1 and format.value not in ON_STDOUT_TOGETHER:
            raise _usage(f"--format {format.value} of several files needs --output-dir")
        targets = None
    else:
        targets = _targets(files, output_dir, "txt" if format is Format.TEXT else format.value)
    times: dict[Format, Timestamps] = {Format.TEXT: "none", Format.JSON: timestamps.value}
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        failed = asyncio.run(
            _transcribe_all(
                files,
                targets,
                url=url,
                caller=caller,
                format=format,
                concurrency=concurrency,
                timeout_s=timeout,
                timestamps=times.get(format, "word"),
                channel=_channel(channel),
            )
        )
    except ValueError as error:
        raise _usage(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


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
    """Say whether the server is ready.

    The exit status is 1 when it is not, or when its supervisor says so.
    """
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        with Client(url, timeout_s=timeout, **caller) as client:
            server = client.status(timeout_s=timeout)
    except ValueError as error:
        raise _usage(str(error)) from error
    except AsrError as error:
        print(f"server      {url}  {_describe(error)}")
        server = None
    ready = server is not None and server.ready
    if server is not None:
        state = f"{'live' if server.live else 'not live'}, {_ready(server.ready)}"
        print(f"server      {url}  {state}  {server.name} {server.version}")
        for model in server.models:
            versions = f"  version {', '.join(model.versions)}" if model.versions else ""
            print(f"{model.name:<10}  {_ready(model.ready)}{versions}")
    try:
        health = _readyz.read(health_url or _readyz.guess_url(url))
    except (OSError, ValueError) as error:
        if health_url is not None:
            print(f"supervisor  {health_url}  {error}")
            ready = False
    else:
        report = health.report if isinstance(health.report, str) else json.dumps(health.report)
        print(f"supervisor  {_ready(health.ready)}  {report}")
        ready = ready and health.ready
    raise typer.Exit(0 if ready else 1)


async def _transcribe_all(
    files: list[Path],
    targets: list[Path] | None,
    *,
    url: str,
    caller: Credentials,
    format: Format,
    concurrency: int,
    timeout_s: float,
    timestamps: Timestamps,
    channel: Channel,
) -> int:
    """Transcribe and write all files; the number of those that failed."""
    prefixed = format is Format.TEXT and len(files) > 1
    unwritten: dict[int, str] = {}
    failed = following = 0
    async with AsyncClient(url, timeout_s=timeout_s, **caller) as client:

        async def work(index: int) -> Transcript | Exception:
            try:
                return await client.transcribe(files[index], timestamps=timestamps, channel=channel)
            except (AsrError, OSError, ValueError) as error:
                return error

        with Screen(len(files)) as screen:
            async for index, outcome in _many.as_finished(
                range(len(files)), work, concurrency=concurrency
            ):
                unwritten[index] = ""
                try:
                    if isinstance(outcome, Exception):
                        raise outcome
                    text = _written(files[index], outcome, format)
                    if targets is None:
                        unwritten[index] = f"{files[index]}: {text}" if prefixed else text
                    else:
                        _replace(targets[index], text)
                except (AsrError, OSError, ValueError) as error:
                    failed += 1
                    screen.problem(f"asr: {files[index]}: {_describe(error)}")
                screen.advance()
                while following in unwritten:
                    screen.result(unwritten.pop(following))
                    following += 1
    return failed


def _targets(files: list[Path], folder: Path, suffix: str) -> list[Path]:
    targets = [folder / f"{file.stem}.{suffix}" for file in files]
    target, count = Counter(targets).most_common(1)[0]
    if count > 1:
        raise _usage(f"{count} of the files would be written to {target}")
    for file, target in zip(files, targets, strict=True):
        if file.resolve() == target.resolve():
            raise _usage(f"{file} would be overwritten by its transcript")
    folder.mkdir(parents=True, exist_ok=True)
    return targets


def _replace(target: Path, text: str) -> None:
    """Write a file at once or not at all."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _written(file: Path, transcript: Transcript, format: Format) -> str:
    if format is Format.JSON:
        # A line of JSON says itself whose it is.
        document = {"file": str(file), **_subtitles.fields(transcript)}
        return json.dumps(document, ensure_ascii=False) + "\n"
    return _subtitles.FORMATS[format.value](transcript)


def _channel(text: str) -> Channel:
    options: dict[str, Literal["mix", "separate"]] = {"mix": "mix", "separate": "separate"}
    if text in options:
        return options[text]
    if not text.isdecimal():
        raise _usage(f'--channel {text} is not "mix", "separate" or an index')
    return int(text)


def _describe(error: Exception) -> str:
    if isinstance(error, AsrError):
        return f"{error}: {error.server_message}" if error.server_message else str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _ready(ready: bool) -> str:
    return "ready" if ready else "not ready"


def _usage(message: str) -> typer.Exit:
    print(f"asr: {message}", file=sys.stderr)
    return typer.Exit(2)
