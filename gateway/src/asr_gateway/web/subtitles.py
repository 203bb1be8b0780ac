"""Subtitles of words that the page has: it makes none itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from asr_client import Word
from asr_gateway import slow, uploads
from asr_gateway.errors import bad_field, plain_message
from asr_gateway.openai import subtitles

MAX_BYTES = 4 << 20
"""Of the words: those of six hours of speech."""

router = APIRouter(include_in_schema=False)

_Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class _Said(BaseModel):
    """A word as verbose_json has it; its other keys are ignored."""

    word: str
    start: _Seconds
    end: _Seconds


_WORDS = TypeAdapter(list[_Said])
_FORMATS = {"srt": subtitles.srt, "vtt": subtitles.vtt}


@router.post("/web/subtitles")
async def make(request: Request, format: str = "srt") -> PlainTextResponse:
    """The words of a verbose_json, a JSON list, as `format`: srt or vtt."""
    if format not in _FORMATS:
        raise bad_field("format", f"The format is srt or vtt, not {format[:40]!r}.")
    gateway = request.app.state.gateway
    body = await uploads.receive_small(
        request,
        max_bytes=MAX_BYTES,
        timeout_s=gateway.settings.timeout_s,
        metrics=gateway.metrics,
    )
    return PlainTextResponse(await slow.in_thread(_made, body, format))


def _made(body: bytes, format: str) -> str:
    try:
        said = _WORDS.validate_json(body)
    except ValidationError as error:
        wrong = plain_message(error.errors()[0])
        raise bad_field("words", f"The words are not those of verbose_json: {wrong}.") from None
    words = [
        Word(text=each.word, start_s=each.start, end_s=each.end, confidence=1.0) for each in said
    ]
    return _FORMATS[format](words)
