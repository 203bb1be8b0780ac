"""Reads and checks OPTIONS, the JSON of the wire contract, version 1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from asr_backend.audio.format import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE_HZ,
    MIN_SAMPLE_RATE_HZ,
    PcmFormat,
    check_channel,
)
from asr_backend.ctc.decoders import DEFAULT_BEAM_WIDTH, DEFAULT_HOTWORD_WEIGHT, BeamSettings
from asr_backend.errors import quoted
from asr_backend.front.options_json import read_object, refuse

MAX_OPTIONS_BYTES = 64 * 1024
MAX_HOTWORDS = 100
MAX_HOTWORD_LETTERS = 200


def _few(value: Any) -> Any:
    """Refuse a long list before pydantic writes an error for each of its 30,000 items."""
    if isinstance(value, list) and len(value) > MAX_HOTWORDS:
        raise ValueError("too many")
    return value


class Options(BaseModel):
    """The options of one call. Each description is the range that a refusal quotes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    encoding: Literal["container", "pcm_s16le", "pcm_f32le"] = Field(
        default="container", description='"container", "pcm_s16le" or "pcm_f32le"'
    )
    sample_rate: int | None = Field(
        default=None,
        ge=MIN_SAMPLE_RATE_HZ,
        le=MAX_SAMPLE_RATE_HZ,
        description=f"an integer from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} (Hz)",
    )
    channels: int | None = Field(
        default=None,
        ge=1,
        le=MAX_CHANNELS,
        description=f"an integer from 1 to {MAX_CHANNELS}",
    )
    timestamps: Literal["none", "word", "char"] = Field(
        default="word", description='"none", "word" or "char"'
    )
    decoder: Literal["greedy", "beam"] = Field(default="greedy", description='"greedy" or "beam"')
    beam_width: int | None = Field(
        default=None, ge=1, le=1_000, description="an integer from 1 to 1000"
    )
    hotwords: Annotated[
        tuple[Annotated[str, Field(pattern=r"\S")], ...] | None, BeforeValidator(_few)
    ] = Field(
        default=None,
        strict=False,
        description=(
            f"a list of strings that are not empty, at most {MAX_HOTWORDS} words in all, "
            f"each of at most {MAX_HOTWORD_LETTERS} letters"
        ),
    )
    hotword_weight: float | None = Field(
        default=None, ge=0, le=100, description="a number from 0 to 100"
    )
    language: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="a string that is not empty"
    )
    channel: Literal["mix", "separate"] | Annotated[int, Field(ge=0)] = Field(
        default="mix", description='"mix", "separate" or a channel index from 0'
    )

    @property
    def pcm(self) -> PcmFormat | None:
        """The format of raw PCM; None for a container, which states its own."""
        if self.encoding == "container":
            return None
        assert self.sample_rate is not None
        assert self.channels is not None
        return PcmFormat(
            encoding=self.encoding, sample_rate_hz=self.sample_rate, channels=self.channels
        )

    @property
    def beam(self) -> BeamSettings | None:
        """Settings of beam search; None for greedy decoding."""
        if self.decoder == "greedy":
            return None
        weight = self.hotword_weight
        return BeamSettings(
            width=self.beam_width or DEFAULT_BEAM_WIDTH,
            hotwords=self.hotwords or (),
            hotword_weight=DEFAULT_HOTWORD_WEIGHT if weight is None else weight,
        )


_PCM_ONLY = ("sample_rate", "channels")
_BEAM_ONLY = ("beam_width", "hotwords", "hotword_weight")


def parse_options(raw: bytes) -> Options:
    """Read one OPTIONS element of `transcribe`.

    Args:
        raw: a JSON object in UTF-8; `{}` asks for the defaults.

    Raises:
        AsrError: BAD_OPTIONS, with the key and the values it allows.
    """
    options = read_object(raw, Options, max_bytes=MAX_OPTIONS_BYTES)
    check_together(options)
    return options


def check_together(options: Options) -> None:
    """Refuse combinations."""
    given = options.model_fields_set
    if options.encoding == "container":
        for key in _PCM_ONLY:
            if key in given:
                refuse(
                    f"{key} is for encoding pcm_s16le and pcm_f32le only; "
                    "a container states its own"
                )
    else:
        for key in _PCM_ONLY:
            if key not in given:
                allowed = Options.model_fields[key].description
                refuse(f"encoding {options.encoding} requires {key}, {allowed}")
    if options.channels is not None and isinstance(options.channel, int):
        check_channel(options.channel, options.channels)
    if options.decoder != "beam":
        for key in _BEAM_ONLY:
            if key in given:
                refuse(f'{key} is for decoder "beam" only')
    words = [word for hotword in options.hotwords or () for word in hotword.split()]
    if len(words) > MAX_HOTWORDS:
        refuse(f"hotwords has {len(words)} words, at most {MAX_HOTWORDS} are allowed")
    longest = max(words, key=len, default="")
    if len(longest) > MAX_HOTWORD_LETTERS:
        refuse(
            f"hotwords has a word of {len(longest)} letters, at most {MAX_HOTWORD_LETTERS} are "
            f"allowed: {quoted(longest)}"
        )
