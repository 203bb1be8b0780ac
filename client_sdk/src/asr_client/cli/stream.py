"""`asr stream`: live audio to words."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from asr_client._client import Client
from asr_client._errors import AsrError
from asr_client._stream.paced import paced
from asr_client.cli.auth import Tls, TlsCa, TlsCert, TlsKey, TokenFile, credentials
from asr_client.cli.commands import _channel, _usage, app
from asr_client.cli.files import _replace
from asr_client.cli.live_screen import JsonScreen, LookNotice, TextScreen
from asr_client.cli.live_source import CtrlC, open_source
from asr_client.cli.screen import describe
from asr_client.cli.subtitles import as_srt


class StreamFormat(str, Enum):
    """Output formats of a live stream."""

    TEXT = "text"
    JSON = "json"


class StreamDecoder(str, Enum):
    """The decoder of the server."""

    GREEDY = "greedy"
    BEAM = "beam"


class PcmEncoding(str, Enum):
    """Raw samples."""

    S16 = "pcm_s16le"
    F32 = "pcm_f32le"


@app.command()
def stream(
    source: Annotated[str, typer.Argument(metavar="-|FILE", help="Standard input, or a WAV file.")],
    url: Annotated[
        list[str],
        typer.Option(
            metavar="HOST:PORT",
            help="The server's gRPC address; may be repeated, or several with commas.",
            envvar="ASR_URL",
        ),
    ] = ["localhost:8001"],  # noqa: B006 (typer copies it)
    format: Annotated[
        StreamFormat, typer.Option(metavar="text|json", help="Output format.")
    ] = StreamFormat.TEXT,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play the file in real time.")
    ] = False,
    srt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write subtitles there at the end.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(metavar="HZ", min=1, help="Sample rate of raw samples.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Channels of raw samples; 1 by default.")
    ] = None,
    encoding: Annotated[
        PcmEncoding | None,
        typer.Option(metavar="pcm_s16le|pcm_f32le", help="What raw samples are."),
    ] = None,
    channel: Annotated[
        str, typer.Option(metavar="CHANNEL", help='"mix" or the index of a channel, from 0.')
    ] = "mix",
    decoder: Annotated[
        StreamDecoder,
        typer.Option(
            metavar="greedy|beam", help="Decoder of the server; beam is slower, and better."
        ),
    ] = StreamDecoder.GREEDY,
    beam_width: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1000, help="Texts that --decoder beam keeps; 100 by default."
        ),
    ] = None,
    hotwords: Annotated[
        list[str] | None,
        typer.Option(
            "--hotword", metavar="WORD", help="A word that --decoder beam prefers; may be repeated."
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="NAME", help="For checkpoints with language adapters.")
    ] = None,
    interim: Annotated[
        bool, typer.Option("--interim/--no-interim", help="Also show words that may change.")
    ] = True,
    endpoint_silence: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="A pause this long ends a segment; 0.5 s by default."),
    ] = None,
    max_segment: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="A segment without a pause is cut here; 15 s by default."
        ),
    ] = None,
    token_file: TokenFile = None,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Recognise audio while it is spoken.

    Standard input is a WAV, as arecord, ffmpeg and sox write it, or raw samples with
    --sample-rate. A final segment is a line; on a terminal, the last line is what may still
    change. The first Ctrl-C ends the audio, and everything becomes final.

    The exit status is 1 if the stream failed or audio was skipped.
    """
    options: dict[str, Any] = {
        "channel": _channel(channel),
        "decoder": decoder.value,
        "beam_width": beam_width,
        "hotwords": hotwords or None,
        "language": language,
        "interim": interim,
        "endpoint_silence_s": endpoint_silence,
        "max_segment_s": max_segment,
    }
    form = {
        "sample_rate": sample_rate,
        "channels": channels,
        "encoding": None if encoding is None else encoding.value,
    }
    screen = JsonScreen() if format is StreamFormat.JSON else TextScreen()
    try:
        addresses = [address.strip() for each in url for address in each.split(",")]
        caller = credentials(token_file, tls, tls_ca, tls_cert, tls_key)
        with (
            CtrlC() as ctrl_c,
            Client(addresses, on_attempt=LookNotice(screen), **caller) as client,
            _opened(source, form, ctrl_c, realtime=realtime) as (chunks, found),
        ):
            live = client.stream(**found, **options)
            whole = _show(live, chunks, screen, srt)
    except ValueError as error:
        raise _usage(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"asr: {error.filename or source}: {describe(error)}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if whole and not live.transcript.skipped else 1)


def _show(
    live: Any, chunks: Iterable[bytes], screen: TextScreen | JsonScreen, srt: Path | None
) -> bool:
    """Show all events, and write the subtitles; returns whether the stream came to its end."""
    whole = False
    try:
        with live:
            for event in live.run(chunks):
                screen.show(event)
        whole = True
    except AsrError as error:
        screen.end()
        print(f"asr: {describe(error)}", file=sys.stderr)
    finally:
        screen.end()
        if not whole:
            screen.lost()
        if srt is not None:
            _replace(srt, as_srt(live.transcript))
    return whole


@contextlib.contextmanager
def _opened(
    source: str, form: dict[str, Any], ctrl_c: CtrlC, *, realtime: bool
) -> Iterator[tuple[Iterable[bytes], dict[str, Any]]]:
    """The chunks, and their form."""
    if realtime:
        if source == "-" or any(form.values()):
            raise ValueError("--realtime is for a WAV file")
        player = paced(source)
        found = {name: getattr(player, name) for name in form}
        yield ctrl_c.each(player), found
        return
    with contextlib.ExitStack() as stack:
        file: BinaryIO = sys.stdin.buffer
        if source == "-" and file.isatty():
            raise ValueError(
                "standard input is a terminal: pipe audio into it, as in "
                "`arecord -q -f S16_LE -r 16000 -c 1 -t wav | asr stream -`"
            )
        if source != "-":
            file = stack.enter_context(Path(source).open("rb"))
        pcm = open_source(file, **form)
        yield pcm.chunks(ctrl_c), {name: getattr(pcm, name) for name in form}
