"""What a job was asked for, between the fields of its request and the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from asr_client import ServerInfo
from asr_gateway.errors import bad_field
from asr_gateway.openai import fields
from asr_gateway.openai.fields import Asked
from asr_gateway.openai.languages import Language
from asr_gateway.recognition import Options


def check(
    given: Iterable[tuple[str, str]], *, own_language: str, decoder: str, served: ServerInfo | None
) -> Asked:
    """The job that the fields of a transcription make; the arguments are those of fields.check.

    Words have times whatever the format, because the result can be had in each format.

    Raises:
        ApiError: 400; `param` names the field.
    """
    asked = fields.check(given, own_language=own_language, decoder=decoder, served=served)
    if asked.stream:
        raise bad_field("stream", "A job has no stream.", code="unsupported_parameter")
    return dataclasses.replace(asked, options=dataclasses.replace(asked.options, timestamps="word"))


def to_json(asked: Asked) -> dict[str, Any]:
    """For the store."""
    return dataclasses.asdict(asked)


def from_json(stored: Mapping[str, Any]) -> Asked:
    """What `to_json` made."""
    options = dict(stored["options"])
    if options["hotwords"] is not None:
        options["hotwords"] = tuple(options["hotwords"])
    return Asked(
        **{
            **stored,
            "granularities": tuple(stored["granularities"]),
            "language": Language(**stored["language"]),
            "options": Options(**options),
        }
    )
