"""What `/openapi.json` says of transcriptions: the form's fields, and an example of each answer."""

from __future__ import annotations

from typing import Any

from asr_gateway.openai import fields

_FIELDS: dict[str, Any] = {
    "file": {"type": "string", "format": "binary", "description": "An audio or video file."},
    "model": {
        "type": "string",
        "description": "The served model's id or an alias; `GET /v1/models` lists them.",
        "example": "whisper-1",
    },
    "language": {
        "type": "string",
        "description": "ISO 639-1, or the name of a language adapter. The checkpoint's own where "
        "the field is absent.",
        "example": "en",
    },
    "response_format": {"type": "string", "enum": list(fields.FORMATS), "default": "json"},
    "temperature": {"type": "number", "enum": [0], "description": "Decoding does not sample."},
    "timestamp_granularities[]": {
        "type": "array",
        "items": {"type": "string", "enum": list(fields.GRANULARITIES)},
        "description": "With `verbose_json` only; segments where the field is absent.",
        "example": ["word", "segment"],
    },
    "keywords[]": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "description": "Hot words for the beam search.",
        "example": ["meters"],
    },
    "stream": {
        "type": "boolean",
        "default": False,
        "description": "Server-sent events; with `json` only.",
    },
}

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["file", "model"],
                    "properties": _FIELDS,
                },
                # A list is sent as one part for each value.
                "encoding": {name: {"explode": True} for name in _FIELDS if name.endswith("[]")},
            }
        },
    },
}

_TEXT = "GO FORWARD TEN METERS"
_USAGE = {"type": "duration", "seconds": 3}
_JSON = {"text": _TEXT, "usage": _USAGE}
_VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 2.66,
    "text": _TEXT,
    "words": [
        {"word": "GO", "start": 0.5, "end": 0.66, "confidence": 0.9871},
        {"word": "FORWARD", "start": 0.78, "end": 1.14, "confidence": 0.9942},
    ],
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.5,
            "end": 2.1,
            "text": _TEXT,
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": -0.0123,
            "compression_ratio": 0.7241,
            "no_speech_prob": 0.0,
        }
    ],
    "usage": _USAGE,
}
_CUE = "00:00:00{point}500 --> 00:00:02{point}100\nGO FORWARD TEN METERS\n\n"
_STREAM = (
    'event: transcript.text.delta\ndata: {"type": "transcript.text.delta", "delta": "GO"}\n\n'
    'event: transcript.text.done\ndata: {"type": "transcript.text.done", "text": "GO"}\n\n'
)

_STRING = {"type": "string"}
_NUMBER = {"type": "number"}
_INTEGER = {"type": "integer"}
_RESULT: dict[str, Any] = {
    "type": "object",
    "required": ["text", "usage"],
    "properties": {
        "text": _STRING,
        "usage": {
            "type": "object",
            "properties": {"type": {"const": "duration"}, "seconds": _INTEGER},
        },
        "task": {"const": "transcribe"},
        "language": _STRING,
        "duration": {**_NUMBER, "description": "seconds"},
        "words": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["word", "start", "end", "confidence"],
                "properties": {
                    "word": _STRING,
                    "start": {**_NUMBER, "description": "seconds"},
                    "end": {**_NUMBER, "description": "seconds"},
                    "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                },
            },
        },
        "segments": {"type": "array", "items": {"type": "object"}},
    },
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The transcript, in the `response_format` that was asked for.",
        "content": {
            "application/json": {
                "schema": _RESULT,
                "examples": {
                    "json": {"value": _JSON},
                    "verbose_json": {
                        "summary": "verbose_json with words and segments",
                        "value": _VERBOSE,
                    },
                },
            },
            "text/plain": {
                "schema": _STRING,
                "examples": {
                    "text": {"value": f"{_TEXT}\n"},
                    "srt": {"value": "1\n" + _CUE.format(point=",")},
                },
            },
            "text/vtt": {"schema": _STRING, "example": "WEBVTT\n\n" + _CUE.format(point=".")},
            "text/event-stream": {"schema": _STRING, "example": _STREAM},
        },
    },
    400: {"description": "a field or the audio is wrong; `param` names the field"},
    401: {"description": "no key, a wrong one, or one that has expired"},
    404: {"description": "`model_not_found`"},
    413: {"description": "the file is too large"},
    429: {"description": "a limit of the key; `Retry-After` says when to try again"},
    503: {"description": "asr-server is busy or away; `Retry-After` says when to try again"},
    504: {"description": "asr-server did not answer in time"},
}
