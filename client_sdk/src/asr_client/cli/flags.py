"""The flags that several subcommands of `asr` share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

DEFAULT_URL = "localhost:8001"


class Detail(str, Enum):
    """The times in JSON."""

    NONE = "none"
    WORD = "word"
    CHAR = "char"


class DecoderName(str, Enum):
    """The decoder of the server."""

    GREEDY = "greedy"
    BEAM = "beam"


class EncodingName(str, Enum):
    """What the recordings are."""

    CONTAINER = "container"
    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"


Url = Annotated[
    list[str],
    typer.Option(
        metavar="HOST:PORT",
        help="The server's gRPC address; may be repeated, or several with commas.",
        envvar="ASR_URL",
    ),
]
Concurrency = Annotated[
    int, typer.Option(metavar="N", min=1, help="Maximum number of recordings in flight.")
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="Time limit of each recording.")]
MaxAudioBytes = Annotated[
    int,
    typer.Option(
        metavar="BYTES",
        min=1,
        help="Larger recordings are not sent; for servers with another limit than the default.",
        envvar="ASR_MAX_AUDIO_BYTES",
    ),
]
ChannelName = Annotated[
    str,
    typer.Option(metavar="CHANNEL", help='"mix", "separate" or the index of a channel, from 0.'),
]
Decoding = Annotated[
    DecoderName,
    typer.Option(metavar="greedy|beam", help="Decoder of the server; beam is slower, and better."),
]
BeamWidth = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=1000, help="Texts that --decoder beam keeps; 100 by default."
    ),
]
Encoded = Annotated[
    EncodingName,
    typer.Option(
        metavar="container|pcm_s16le|pcm_f32le",
        help="What the recordings are: audio files, or raw samples.",
    ),
]
SampleRate = Annotated[int | None, typer.Option(metavar="HZ", help="Sample rate of raw samples.")]
Channels = Annotated[
    int | None, typer.Option(metavar="N", help="Channels of raw samples, interleaved.")
]
Hotwords = Annotated[
    list[str] | None,
    typer.Option(
        "--hotword", metavar="WORD", help="A word that --decoder beam prefers; may be repeated."
    ),
]
Language = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="For checkpoints with language adapters."),
]
