"""The fields of a transcription request, checked: what cannot be done is a 400 that names it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from asr_client import Decoder, ServerInfo, Timestamps
from asr_gateway.errors import bad_field
from asr_gateway.openai import languages
from asr_gateway.recognition import Options

Format: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS: tuple[str, ...] = get_args(Format)
GRANULARITIES = ("word", "segment")
SCALARS = ("model", "language", "response_format", "temperature", "stream")
LISTS = ("timestamp_granularities", "keywords")
UNSUPPORTED = (
    "prompt",
    "include",
    "chunking_strategy",
    "known_speaker_names",
    "known_speaker_references",
    "languages",
)
"""OpenAI's fields that ask for what the service cannot do."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A checked request."""

    model: str
    format: Format
    granularities: tuple[str, ...]
    stream: bool
    language: languages.Language
    options: Options


_TIMESTAMPS: dict[str, Timestamps] = {
    "json": "none",
    "text": "none",
    # A word as long as a subtitle is cut between letters.
    "srt": "char",
    "vtt": "char",
    "verbose_json": "word",
}


def check(
    fields: Iterable[tuple[str, str]],
    *,
    own_language: str,
    decoder: str,
    served: ServerInfo | None = None,
) -> Asked:
    """The request that the fields make.

    Args:
        fields: names and values in the request's order.
        own_language: the checkpoint's.
        decoder: "auto", "greedy" or "beam", as the gateway was started.
        served: what asr-server says of itself; None if that is not known.

    Raises:
        ApiError: 400; `param` names the field.
    """
    scalars, lists = _sorted(fields)
    if not scalars.get("model"):
        raise bad_field("model", "The field model is missing.", code="missing_required_parameter")
    format = scalars.get("response_format", "json")
    if format not in FORMATS:
        raise bad_field(
            "response_format",
            f"The response_format {format!r} is not supported; it is {_either(FORMATS)}.",
        )
    _check_temperature(scalars.get("temperature", "0"))
    stream = _boolean("stream", scalars.get("stream", "false"))
    if stream and format != "json":
        raise bad_field("stream", f"With stream the response_format is json, not {format}.")
    granularities = _granularities(lists.get("timestamp_granularities", []), format)
    keywords = _keywords(lists.get("keywords", []), decoder, served)
    language = languages.resolve(scalars.get("language"), own=own_language, served=served)
    options = Options(
        timestamps=_TIMESTAMPS[format],
        decoder=_decoder(decoder, keywords, language, served),
        hotwords=keywords or None,
        language=language.adapter,
    )
    return Asked(
        model=scalars["model"],
        format=cast(Format, format),
        granularities=granularities,
        stream=stream,
        language=language,
        options=options,
    )


def _sorted(fields: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Scalar fields and lists; a list's name may end with [], as OpenAI's clients send it."""
    scalars: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for sent, value in fields:
        name = sent.removesuffix("[]")
        if name.partition("[")[0] in UNSUPPORTED:
            name = name.partition("[")[0]
            raise bad_field(
                name, f"The field {name} is not supported.", code="unsupported_parameter"
            )
        if name in LISTS:
            lists.setdefault(name, []).append(value)
        elif sent not in SCALARS:
            raise bad_field(sent, f"There is no field {sent!r}.", code="unknown_parameter")
        elif sent in scalars:
            raise bad_field(sent, f"The field {sent} was sent twice.")
        else:
            scalars[sent] = value
    return scalars, lists


def _check_temperature(text: str) -> None:
    try:
        temperature = float(text)
    except ValueError:
        raise bad_field("temperature", f"The temperature {text!r} is no number.") from None
    if temperature != 0:
        raise bad_field("temperature", "The only temperature is 0: decoding does not sample.")


def _granularities(given: list[str], format: str) -> tuple[str, ...]:
    name = "timestamp_granularities"
    for value in given:
        if value not in GRANULARITIES:
            raise bad_field(
                name, f"{name} {value!r} is not supported; it is {_either(GRANULARITIES)}."
            )
    if given and format != "verbose_json":
        raise bad_field(name, f"{name} needs the response_format verbose_json, not {format}.")
    return tuple(given) or ("segment",)


def _keywords(given: list[str], decoder: str, served: ServerInfo | None) -> tuple[str, ...]:
    if given and decoder == "greedy":
        raise bad_field("keywords", "This gateway has no keywords: it runs with --decoder greedy.")
    if given and served is not None and served.decoders and "beam" not in served.decoders:
        raise bad_field("keywords", "There are no keywords: asr-server has no beam search.")
    if not all(word.strip() for word in given):
        raise bad_field("keywords", "One of the keywords is empty.")
    return tuple(given)


def _decoder(
    asked: str,
    keywords: tuple[str, ...],
    language: languages.Language,
    served: ServerInfo | None,
) -> Decoder:
    """The decoder of a request.

    "auto" searches where there are keywords, and where asr-server has a language model, which is of
    its default language.
    """
    has_model = served is not None and served.language_model is not None
    if asked == "beam":
        return "beam"
    if asked == "auto" and (keywords or (has_model and language.adapter is None)):
        return "beam"
    return "greedy"


def _boolean(name: str, text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise bad_field(name, f"The field {name} is true or false, not {text!r}.")
    return values[text.lower()]


def _either(values: Iterable[str]) -> str:
    return " or ".join(values)
