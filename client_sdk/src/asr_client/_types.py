"""Arguments and results of the service: frozen values without gRPC."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt


class ReadableFile(Protocol):
    """A file object in binary mode; the client reads from its position to its end."""

    def read(self) -> bytes:
        """Return the rest of the file."""


Samples: TypeAlias = "npt.NDArray[np.integer[Any] | np.floating[Any]]"
"""Samples of any integer or float dtype, `[samples]` or `[samples, channels]`."""

Audio: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | Samples"
)
"""A path, the bytes of a file, a file object in binary mode, or an array of samples."""

Chunk: TypeAlias = "bytes | bytearray | memoryview | Samples"
"""A part of a live stream: raw PCM, or an array of samples."""

Encoding: TypeAlias = Literal["container", "pcm_s16le", "pcm_f32le"]
"""The form of the audio: a file with a header ("container"), or raw samples."""

Compression: TypeAlias = Literal["gzip", "deflate"]
"""The compression of requests by gRPC."""

Timestamps: TypeAlias = Literal["none", "word", "char"]
"""The times in the transcript; "char" includes the words."""

Decoder: TypeAlias = Literal["greedy", "beam"]
"""The CTC decoder: greedy, or beam search with hot words and a language model."""

Channel: TypeAlias = "Literal['mix', 'separate'] | int"
"""The mean of all channels, each channel separately, or one channel by its index from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Char:
    """One character of the transcript."""

    text: str
    start_s: float
    """Seconds from the start of the submitted audio."""
    end_s: float
    """Seconds from the start of the submitted audio."""
    confidence: float
    """Between 0 and 1."""
    channel: int | None = None
    """The channel, with `channel="separate"`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One word of the transcript."""

    text: str
    start_s: float
    """Seconds from the start of the submitted audio."""
    end_s: float
    """Seconds from the start of the submitted audio."""
    confidence: float
    """Between 0 and 1."""
    channel: int | None = None
    """The channel, with `channel="separate"`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelTranscript:
    """The transcript of one channel, with `channel="separate"`."""

    channel: int
    text: str
    confidence: float
    """Between 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioWarning:
    """What the server noticed about audio that it transcribed all the same."""

    code: str
    """For programs: CHANNELS_CANCEL, CLIPPED, VERY_QUIET, AUDIO_ENDS_EARLY, AUDIO_GAP,
    AUDIO_DAMAGED; a later server may have more."""
    message: str
    """For people; the words may change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """The checkpoint that the server used."""

    id: str
    revision: str
    precision: str | None = None
    """The arithmetic that computed the answer: "fp32", "bf16", "fp16" or "int8"; None on older
    servers."""
    fingerprint: str | None = None
    """A hash of all that can change an answer; None on older servers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The server's time, in milliseconds."""

    decode: float
    """From file bytes to 16 kHz samples."""
    acoustic: float
    """In the acoustic model, with the time in its queue."""
    ctc: float
    """From log-probabilities to text."""
    total: float
    """The whole request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """The transcript of one recording."""

    text: str
    """With `channel="separate"`, the texts of the channels, joined by newlines."""
    duration_s: float
    """Length of the submitted audio in seconds."""
    confidence: float
    """Between 0 and 1."""
    words: tuple[Word, ...]
    """Empty with `timestamps="none"`."""
    chars: tuple[Char, ...]
    """Empty unless `timestamps="char"`."""
    channels: tuple[ChannelTranscript, ...]
    """Empty unless `channel="separate"`."""
    model: ModelInfo
    timing_ms: Timing
    request_id: str
    """The id of the request in the server's log."""
    warnings: tuple[AudioWarning, ...] = ()
    """Usually empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStatus:
    """One model of a server."""

    name: str
    ready: bool
    versions: tuple[str, ...]
    """The versions that are served; empty when the model is not loaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """The state of a server, as it reports it."""

    live: bool
    """The process answers."""
    ready: bool
    """The server and both models can take requests."""
    name: str
    version: str
    """Triton's own version."""
    address: str
    """The server that answered."""
    models: tuple[ModelStatus, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerInfo:
    """What a server serves, as its configuration states it.

    A server older than this state has none of it: every field but `address` is then None or empty.
    """

    model_id: str | None
    """The checkpoint, as in `Transcript.model`."""
    model_revision: str | None
    """Its version: the commit of a hub checkpoint, a hash of the weights of a folder."""
    precision: str | None
    """The arithmetic of the network: "fp32", "bf16", "fp16" or "int8"."""
    languages: tuple[str, ...]
    """The languages that it has adapters for, its default first; empty without adapters."""
    decoders: tuple[str, ...]
    """The decoders that `transcribe` may ask for."""
    language_model: str | None
    """The file name of beam search's language model; None if there is none."""
    fingerprint: str | None
    """A hash of all that can change an answer, as in `Transcript.model`. Equal fingerprints give
    equal answers to the same recording and options, to within rounding."""
    address: str
    """The server that answered."""


ServerState: TypeAlias = Literal["up", "unproven", "silent", "down"]
"""The state of a server, as a client knows it.

"up": it gets calls. "unproven": not known yet; it gets calls once it reports that it is ready.
"silent": it did not answer recordings; it gets calls once it has answered a short trial recording.
"down": it cannot be reached or is stopping; it gets calls once it reports that it is ready.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerHealth:
    """A server of a client, as the client knows it."""

    address: str
    state: ServerState
    reason: str
    """Why it is silent or down; empty otherwise."""

    @property
    def left_out(self) -> bool:
        """Whether calls go to other servers, if there are any."""
        return self.state in ("silent", "down")
