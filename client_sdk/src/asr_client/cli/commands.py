"""The arguments of the command `asr`, and its subcommands."""

from __future__ import annotations

import sys
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
from asr_client.cli.files import Format, transcribe_files
from asr_client.cli.flags import (
    DEFAULT_URL,
    BeamWidth,
    ChannelName,
    Channels,
    Concurrency,
    DecoderName,
    Decoding,
    Detail,
    Encoded,
    EncodingName,
    Hotwords,
    Language,
    MaxAudioBytes,
    SampleRate,
    Timeout,
    Url,
)
from asr_client.cli.inputs import read_inputs, target_paths
from asr_client.cli.manifest import ManifestError
from asr_client.cli.plain import PlainGroup
from asr_client.cli.results import ResultsError
from asr_client.cli.screen import WaitingNotice
from asr_client.cli.status import StatusReport

ON_STDOUT_TOGETHER = ("text", "json")
"""Formats in which several transcripts may follow each other on standard output."""
GO_ON = "run the same command again to go on"

app = typer.Typer(
    cls=PlainGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: the one with frames names Python's types.
    rich_markup_mode=None,
)


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
    files: Annotated[
        list[Path],
        # Named in the text above the options: typer would show its Python type here.
        typer.Argument(metavar="FILES", hidden=True),
    ],
    url: Url = (DEFAULT_URL,),  # type: ignore[assignment]
    format: Annotated[
        Format, typer.Option(metavar="text|json|srt|vtt|tsv", help="Output format.")
    ] = Format.TEXT,
    output_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for one output file per recording."),
    ] = None,
    concurrency: Concurrency = 4,
    timeout: Timeout = 600.0,
    max_audio_bytes: MaxAudioBytes = DEFAULT_MAX_AUDIO_BYTES,
    timestamps: Annotated[
        Detail, typer.Option(metavar="none|word|char", help="Times in JSON.")
    ] = Detail.WORD,
    channel: ChannelName = "mix",
    encoding: Encoded = EncodingName.CONTAINER,
    sample_rate: SampleRate = None,
    channels: Channels = None,
    decoder: Decoding = DecoderName.GREEDY,
    beam_width: BeamWidth = None,
    hotwords: Hotwords = None,
    language: Language = None,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Transcribe audio files.

    FILES are audio files, folders of them, or - for standard input.

    Without --output-dir the transcripts go to standard output, in the files' order.
    The exit status is 1 if a file failed; the other files are still transcribed.
    """
    times: dict[Format, Timestamps] = {
        Format.TEXT: "none",
        Format.JSON: timestamps.value,
        # A word as long as a cue is cut between letters.
        Format.SRT: "char",
        Format.VTT: "char",
    }
    options: TranscribeOptions = {
        "timestamps": times.get(format, "word"),
        "channel": _channel(channel),
        **_samples(encoding, sample_rate, channels),
        **_decoding(decoder, beam_width, hotwords, language),
    }
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        with Client(
            _addresses(url),
            timeout_s=timeout,
            max_audio_bytes=max_audio_bytes,
            on_attempt=WaitingNotice(),
            **caller,
        ) as client:
            raw = encoding is not EncodingName.CONTAINER
            inputs = read_inputs(files, raw=raw, max_bytes=max_audio_bytes)
            if output_dir is None and len(inputs) > 1 and format.value not in ON_STDOUT_TOGETHER:
                raise _usage(f"--format {format.value} of several files needs --output-dir")
            targets = None
            if output_dir is not None:
                suffix = "txt" if format is Format.TEXT else format.value
                targets = target_paths(inputs, output_dir, suffix)
                _make(output_dir)
            failed = transcribe_files(
                client, inputs, targets, format=format, concurrency=concurrency, options=options
            )
    except ValueError as error:
        raise _usage(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(1 if failed else 0)


@app.command()
def batch(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST.jsonl", hidden=True),
    ],
    output: Annotated[Path, typer.Option(metavar="RESULTS.jsonl", help="The results file.")],
    url: Url = (DEFAULT_URL,),  # type: ignore[assignment]
    concurrency: Concurrency = 8,
    timeout: Timeout = 600.0,
    max_audio_bytes: MaxAudioBytes = DEFAULT_MAX_AUDIO_BYTES,
    timestamps: Annotated[
        Detail, typer.Option(metavar="none|word|char", help="Times in the results.")
    ] = Detail.WORD,
    channel: ChannelName = "mix",
    encoding: Encoded = EncodingName.CONTAINER,
    sample_rate: SampleRate = None,
    channels: Channels = None,
    decoder: Decoding = DecoderName.GREEDY,
    beam_width: BeamWidth = None,
    hotwords: Hotwords = None,
    language: Language = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try lines that failed in an earlier run.")
    ] = False,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Transcribe the recordings of a manifest, and continue where an earlier run stopped.

    Each line of MANIFEST.jsonl is a JSON object. It has "audio", a path relative to the manifest,
    and may have "id" and its own options. Each gets one line in the results, in the order in
    which they finish.

    The exit status is 0 if every line has a transcript, 1 if lines failed, 3 if the server or the
    disk stopped the work, and 130 after Ctrl-C. After 3 and 130, the same command continues.
    """
    options: TranscribeOptions = {
        "timestamps": timestamps.value,
        "channel": _channel(channel),
        **_samples(encoding, sample_rate, channels),
        **_decoding(decoder, beam_width, hotwords, language),
    }
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        with Client(
            _addresses(url),
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
    url: Url = (DEFAULT_URL,),  # type: ignore[assignment]
    health_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Health address of asr-server; by default port 8003 of the same host.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Maximum wait for answers.")
    ] = 5.0,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Show whether the server is ready, and whether it answers a short recording.

    The exit status is 1 if it does not, or if its supervisor reports that it is not ready.
    """
    try:
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        addresses = _addresses(url)
        if len(addresses) > 1 and health_url is not None:
            raise ValueError("--health-url is for one --url")
        reports = [
            StatusReport(address, health_url=health_url, timeout_s=timeout, caller=caller)
            for address in addresses
        ]
    except ValueError as error:
        raise _usage(str(error)) from error
    for report in reports:
        for line in report.lines():
            print(line)
    raise typer.Exit(0 if all(report.ready for report in reports) else 1)


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


def _addresses(urls: list[str]) -> list[str]:
    return [address.strip() for url in urls for address in url.split(",")]


def _samples(
    encoding: EncodingName, sample_rate: int | None, channels: int | None
) -> TranscribeOptions:
    return {"encoding": encoding.value, "sample_rate": sample_rate, "channels": channels}


def _decoding(
    decoder: DecoderName,
    beam_width: int | None,
    hotwords: list[str] | None,
    language: str | None,
) -> TranscribeOptions:
    return {
        "decoder": decoder.value,
        "beam_width": beam_width,
        "hotwords": hotwords or None,
        "language": language,
    }


def _usage(message: str) -> typer.Exit:
    print(f"asr: {message}", file=sys.stderr)
    return typer.Exit(2)
