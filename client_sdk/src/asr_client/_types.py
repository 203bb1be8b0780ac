"""What the service answers: plain frozen values, without gRPC in sight."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt


class ReadableFile(Protocol):
    """A file object opened in binary mode; it is read from its current position to its end."""

    def read(self) -> bytes:
        """Return the rest of the file."""


Samples: TypeAlias = "npt.NDArray[np.integer[Any] | np.floating[Any]]"
"""Samples of any integer or float dtype, `[samples]` or `[samples, channels]`."""

Audio: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | Samples"
)
"""A path, the bytes of a file, a file object opened in binary mode, or an array of samples."""

Encoding: TypeAlias = Literal["container", "pcm_s16le", "pcm_f32le"]
"""What the audio is: a file with a header of its own, or bare samples."""

Compression: TypeAlias = Literal["gzip", "deflate"]
"""How gRPC packs what is sent."""

Timestamps: TypeAlias = Literal["none", "word", "char"]
"""What the transcript has times of; "char" includes the words."""

Decoder: TypeAlias = Literal["greedy", "beam"]
"""How the server reads the text off the network's output."""

Channel: TypeAlias = "Literal['mix', 'separate'] | int"
"""The mean of all channels, each for itself, or one by its index from 0."""


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
    """The channel it was heard on, with `channel="separate"`."""


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
    """The channel it was heard on, with `channel="separate"`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelTranscript:
    """What was heard on one channel, with `channel="separate"`."""

    channel: int
    text: str
    confidence: float
    """Between 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """The checkpoint that heard it."""

    id: str
    revision: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Where the server spent its time, in milliseconds."""

    decode: float
    """From file bytes to 16 kHz samples."""
    acoustic: float
    """In the acoustic model, its queue included."""
    ctc: float
    """From log-probabilities to text."""
    total: float
    """All of the above and the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """One recording's transcript."""

    text: str
    """With `channel="separate"` the channels' texts, joined by newlines."""
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
    """What the server's log calls this request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStatus:
    """One model of a server."""

    name: str
    ready: bool
    versions: tuple[str, ...]
    """The versions being served; none when the model is not loaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """What a server says about itself."""

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


ServerState: TypeAlias = Literal["up", "unproven", "silent", "down"]
"""What a client knows of a server.

"up": calls go there. "unproven": nothing is known yet; it gets calls when it says that it is ready.
"silent": it left recordings unanswered; it gets calls when it has answered a short trial recording.
"down": it cannot be reached or is stopping; it gets calls when it says that it is ready.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerHealth:
    """What a client knows of one of its servers."""

    address: str
    state: ServerState
    reason: str
    """Why it is silent or down; empty otherwise."""

    @property
    def left_out(self) -> bool:
        """Whether calls go to other servers, where there are any."""
        return self.state in ("silent", "down")
