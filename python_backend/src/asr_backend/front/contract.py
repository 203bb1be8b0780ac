"""OPTIONS in and RESULT out: the JSON of the wire contract, version 1."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asr_backend.errors import AsrError, ErrorCode

if TYPE_CHECKING:
    from asr_backend.ctc.greedy import Span, Transcription

CONTRACT_VERSION = 1
MIN_SAMPLE_RATE_HZ = 1_000
MAX_SAMPLE_RATE_HZ = 384_000
MAX_CHANNELS = 64
MAX_OPTIONS_BYTES = 64 * 1024
MAX_HOTWORDS = 100
MAX_HOTWORD_LETTERS = 200

_ECHO_CHARACTERS = 40
_SPANS_AT_ONCE = 200
"""Words or characters that one call of json encodes. It holds the interpreter's lock for half a
millisecond; other threads, such as a front's event loop, run between two calls."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _few(value: Any) -> Any:
    """Refuse a list before pydantic writes an error for each of its 30,000 items."""
    if isinstance(value, list) and len(value) > MAX_HOTWORDS:
        raise ValueError("too many")
    return value


class Options(BaseModel):
    """What a caller asks for. Each description is the range that a refusal quotes."""

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


_PCM_ONLY = ("sample_rate", "channels")
_BEAM_ONLY = ("beam_width", "hotwords", "hotword_weight")


def parse_options(raw: bytes) -> Options:
    """Read one OPTIONS element.

    Args:
        raw: a JSON object in UTF-8; `{}` asks for the defaults.

    Raises:
        AsrError: BAD_OPTIONS, with the key and the values it allows.
    """
    if len(raw) > MAX_OPTIONS_BYTES:
        _refuse(f"OPTIONS has {len(raw)} bytes, the limit is {MAX_OPTIONS_BYTES}")
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        _refuse(f"OPTIONS is not UTF-8: byte {error.start} does not decode")
    except json.JSONDecodeError as error:
        _refuse(f"OPTIONS is not JSON: {error.msg} at character {error.pos}")
    except (ValueError, RecursionError):
        _refuse("OPTIONS is not JSON: a number is too long or the nesting too deep")
    if not isinstance(value, dict):
        _refuse(f"OPTIONS must be a JSON object such as {{}}, not {_echo(value)}")
    for key in value:
        if key not in Options.model_fields:
            _refuse(f"unknown key {_echo(key)}; the keys are {', '.join(Options.model_fields)}")
        # None stands for an absent key; JSON's null is a wrong type.
        if value[key] is None:
            _refuse_value(key, None)
    try:
        options = Options.model_validate(value)
    except ValidationError as error:
        key = str(error.errors(include_url=False)[0]["loc"][0])
        _refuse_value(key, value[key])
    _check_together(options)
    return options


def _check_together(options: Options) -> None:
    """Refuse combinations."""
    given = options.model_fields_set
    if options.encoding == "container":
        for key in _PCM_ONLY:
            if key in given:
                _refuse(
                    f"{key} is for encoding pcm_s16le and pcm_f32le only; "
                    "a container states its own"
                )
    else:
        for key in _PCM_ONLY:
            if key not in given:
                allowed = Options.model_fields[key].description
                _refuse(f"encoding {options.encoding} requires {key}, {allowed}")
    if options.channels is not None and isinstance(options.channel, int):
        check_channel(options.channel, options.channels)
    if options.decoder != "beam":
        for key in _BEAM_ONLY:
            if key in given:
                _refuse(f'{key} is for decoder "beam" only')
    words = [word for hotword in options.hotwords or () for word in hotword.split()]
    if len(words) > MAX_HOTWORDS:
        _refuse(f"hotwords has {len(words)} words, at most {MAX_HOTWORDS} are allowed")
    longest = max(words, key=len, default="")
    if len(longest) > MAX_HOTWORD_LETTERS:
        _refuse(
            f"hotwords has a word of {len(longest)} letters, at most {MAX_HOTWORD_LETTERS} are "
            f"allowed: {_echo(longest)}"
        )


def check_channel(channel: int, channels: int) -> None:
    """Raise BAD_OPTIONS if audio of this many channels has no channel of this index."""
    if channel >= channels:
        _refuse(
            f"channel is {_echo(channel)}, the audio has {channels} "
            f"channel{'s' * (channels > 1)}: 0 to {channels - 1}"
        )


def encode_result(
    *,
    transcription: Transcription,
    duration_s: float,
    timestamps: Literal["none", "word", "char"],
    model_id: str,
    model_revision: str,
    timing_ms: Mapping[str, float],
) -> bytes:
    """Write one RESULT element: JSON in UTF-8, without what was not asked for.

    Args:
        transcription: text, confidence, words and characters, times in seconds.
        duration_s: length of the submitted audio.
        timestamps: "word" adds the words, "char" the words and the characters.
        model_id: what served the request.
        model_revision: its version.
        timing_ms: milliseconds by stage: decode, acoustic, ctc, total.

    Returns:
        Seconds with 3 decimals, confidences with 4, milliseconds with 1; finite numbers only.

    Raises:
        ValueError: a number is NaN or infinite, which is a defect of ours.
    """
    result = {
        "contract": _ENCODER.encode(CONTRACT_VERSION),
        "text": _ENCODER.encode(transcription.text),
        "duration_s": _ENCODER.encode(_rounded(duration_s, 3)),
        "confidence": _ENCODER.encode(_confidence(transcription.confidence)),
    }
    if timestamps != "none":
        result["words"] = _spans(transcription.words)
    if timestamps == "char":
        result["chars"] = _spans(transcription.chars)
    if transcription.channels:
        result["channels"] = _ENCODER.encode(
            [
                {"channel": index, "text": one.text, "confidence": _confidence(one.confidence)}
                for index, one in enumerate(transcription.channels)
            ]
        )
    result["model"] = _ENCODER.encode({"id": model_id, "revision": model_revision})
    result["timing_ms"] = _ENCODER.encode(
        {stage: _rounded(ms, 1) for stage, ms in timing_ms.items()}
    )
    return ("{" + ",".join(f'"{key}":{value}' for key, value in result.items()) + "}").encode()


def _spans(spans: Sequence[Span]) -> str:
    """A list of words or characters as JSON."""
    parts = (
        _ENCODER.encode([_span(span) for span in spans[start : start + _SPANS_AT_ONCE]])[1:-1]
        for start in range(0, len(spans), _SPANS_AT_ONCE)
    )
    return "[" + ",".join(parts) + "]"


def _span(span: Span) -> dict[str, str | float]:
    value: dict[str, str | float] = {
        "text": span.text,
        "start_s": _rounded(span.start_s, 3),
        "end_s": _rounded(span.end_s, 3),
        "confidence": _confidence(span.confidence),
    }
    return value if span.channel is None else {**value, "channel": span.channel}


def _rounded(value: float, digits: int) -> float:
    # float() because json knows no numpy scalar.
    return round(float(value), digits)


def _confidence(value: float) -> float:
    # min and max would turn a NaN into a plausible number.
    if math.isnan(value):
        raise ValueError("a confidence is NaN")
    return _rounded(min(1.0, max(0.0, value)), 4)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            _refuse(f"key {_echo(key)} stands twice")
        value[key] = item
    return value


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a JSON number")


def _refuse_value(key: str, value: object) -> NoReturn:
    _refuse(f"{key} must be {Options.model_fields[key].description}, not {_echo(value)}")


def _refuse(detail: str) -> NoReturn:
    raise AsrError(ErrorCode.BAD_OPTIONS, detail)


def _echo(value: object) -> str:
    """A caller's value as JSON in ASCII, cut short."""
    text = json.dumps(value)
    return text if len(text) <= _ECHO_CHARACTERS else text[:_ECHO_CHARACTERS] + "…"
