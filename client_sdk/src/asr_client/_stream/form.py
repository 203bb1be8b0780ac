"""What a live stream's audio is, and its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr_client._audio import encode, positive
from asr_client._errors import StreamLost
from asr_client._json import to_json
from asr_client._types import Chunk

MAX_BEHIND_S = 60.0
MIN_BEHIND_S = 1.0
"""Twice the audio of which a look is due, and a little more."""
GIVE_UP_S = 30.0
PIECE_S = 1.0
BYTES_OF = {"pcm_s16le": 2, "pcm_f32le": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """Raw PCM."""

    encoding: str
    sample_rate: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return BYTES_OF[self.encoding] * self.channels


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSettings:
    """How a live stream is looked at.

    Raises:
        ValueError: a value is out of its range.
    """

    interim: bool
    max_segment_s: float | None
    max_behind_s: float
    give_up_s: float

    def __post_init__(self) -> None:
        if not 0 < self.give_up_s < math.inf:
            raise ValueError(f"give_up_s is {self.give_up_s}, not a time above 0 s")
        if not MIN_BEHIND_S <= self.max_behind_s < math.inf:
            raise ValueError(f"max_behind_s is {self.max_behind_s}, not {MIN_BEHIND_S:g} s or more")

    @property
    def segment_s(self) -> float:
        """The length at which the server cuts a segment; the contract's default."""
        return 15.0 if self.max_segment_s is None else self.max_segment_s


class Encoder:
    """The caller's chunks as raw PCM of one form; the first chunk settles what was left open.

    Args:
        sample_rate: in Hz.
        channels: None means those of the first array, and 1 for bytes.
        encoding: None means what fits the first array, and 16 bits for bytes.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(self, sample_rate: int, channels: int | None, encoding: str | None) -> None:
        if encoding not in (None, *BYTES_OF):
            raise ValueError(f"encoding is {encoding!r}, not one of {', '.join(BYTES_OF)}")
        self._rate = positive("sample_rate", sample_rate)
        self._channels = None if channels is None else positive("channels", channels)
        self._encoding = encoding
        self.form: Form | None = None
        self.rest = b""
        """The start of a frame whose end has not come yet."""

    def pcm(self, chunk: Chunk) -> bytes:
        """Whole frames of PCM. Without audio, the chunk settles nothing.

        Raises:
            TypeError: the chunk holds no audio.
            ValueError: it has another form than the chunks before.
        """
        if isinstance(chunk, np.ndarray):
            if self.rest:
                raise ValueError("an array after bytes that end within a frame")
            payload = encode(chunk, sample_rate=self._rate)
            if not payload.data:
                return b""
            form = self._settle(payload.encoding, payload.channels or 1)
            if (form.encoding, form.channels) != (payload.encoding, payload.channels):
                raise ValueError(
                    f"an array of {payload.encoding} with {payload.channels} channels, but the "
                    f"stream is {form.encoding} with {form.channels}"
                )
            return bytes(payload.data)
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise TypeError(f"a chunk is bytes or a numpy array, not {type(chunk).__name__}")
        if not chunk:
            return b""
        form = self._settle("pcm_s16le", 1)
        data = self.rest + bytes(chunk)
        whole = whole_bytes(data, form)
        self.rest = data[whole:]
        return data[:whole]

    def _settle(self, encoding: str, channels: int) -> Form:
        if self.form is None:
            self.form = Form(
                encoding=self._encoding or encoding,
                sample_rate=self._rate,
                channels=self._channels or channels,
            )
        return self.form


def encoder_of(
    sample_rate: int | None,
    channels: int | None,
    encoding: str | None,
    resume: StreamLost | None,
) -> Encoder:
    """The encoder of a new stream, or of one that goes on.

    Raises:
        ValueError: an argument is missing, out of range, or differs from the stream before.
    """
    if resume is None:
        if sample_rate is None:
            raise ValueError("a stream needs sample_rate, in Hz")
        return Encoder(sample_rate, channels, encoding)
    before = (resume.sample_rate, resume.channels, resume.encoding)
    for new, old in zip((sample_rate, channels, encoding), before, strict=True):
        if new not in (None, old):
            raise ValueError(f"the stream to resume has {old}, not {new}")
    encoder = Encoder(*before)
    encoder.form = Form(
        encoding=resume.encoding, sample_rate=resume.sample_rate, channels=resume.channels
    )
    encoder.rest = resume.audio[whole_bytes(resume.audio, encoder.form) :]
    return encoder


def whole_bytes(pcm: bytes, form: Form) -> int:
    """Bytes of the whole frames of some audio."""
    return len(pcm) - len(pcm) % form.frame_bytes


def pieces(pcm: bytes, form: Form, max_behind_s: float) -> Iterator[bytes]:
    """At most a second each: beside one, and less than a hop, each fits into what may wait."""
    seconds = min(PIECE_S, max_behind_s / 2)
    size = max(1, int(seconds * form.sample_rate)) * form.frame_bytes
    for start in range(0, len(pcm), size):
        yield pcm[start : start + size]


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """OPTIONS that stay the same for a stream, without those that are None."""
    if isinstance(options.get("hotwords"), str):
        raise TypeError("hotwords is a list of strings, not one string")
    if options.get("channel") == "separate":
        raise ValueError('channel="separate" is not possible here: use a stream for each channel')
    given = {key: value for key, value in options.items() if value is not None}
    if "hotwords" in given:
        given["hotwords"] = list(given["hotwords"])
    # What cannot be sent is an error of the caller's, not one of the first look.
    to_json(given)
    return given
