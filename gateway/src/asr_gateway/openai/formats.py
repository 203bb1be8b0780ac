"""A transcript in the formats of OpenAI's API."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from asr_client import Transcript, Word
from asr_gateway import slow
from asr_gateway.openai import subtitles
from asr_gateway.openai.fields import Asked

MAX_WORDS = 200
"""More words take a thread of their own: subtitles of 20,000 words take a second."""
_MIN_CONFIDENCE = 1e-4
"""The smallest step of a confidence, for its logarithm."""


async def answer(transcript: Transcript, asked: Asked) -> Response:
    """The answer in the format that was asked for."""
    if len(transcript.words) > MAX_WORDS:
        return await slow.in_thread(response, transcript, asked)
    return response(transcript, asked)


def response(transcript: Transcript, asked: Asked) -> Response:
    """The same, at once."""
    if asked.format == "text":
        return PlainTextResponse(transcript.text + "\n")
    if asked.format == "srt":
        return PlainTextResponse(subtitles.srt(transcript.words, transcript.chars))
    if asked.format == "vtt":
        return PlainTextResponse(
            subtitles.vtt(transcript.words, transcript.chars), media_type="text/vtt; charset=utf-8"
        )
    if asked.format == "verbose_json":
        return JSONResponse(verbose(transcript, asked))
    return JSONResponse({"text": transcript.text, "usage": _usage(transcript)})


def verbose(transcript: Transcript, asked: Asked) -> dict[str, Any]:
    """The object of verbose_json."""
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": asked.language.name,
        "duration": transcript.duration_s,
        "text": transcript.text,
    }
    if "word" in asked.granularities:
        body["words"] = [
            {
                "word": word.text,
                "start": word.start_s,
                "end": word.end_s,
                # Not OpenAI's: its clients keep fields that they do not know.
                "confidence": word.confidence,
            }
            for word in transcript.words
        ]
    if "segment" in asked.granularities:
        body["segments"] = _segments(transcript.words)
    body["usage"] = _usage(transcript)
    return body


def events(transcript: Transcript) -> Iterator[str]:
    """The server-sent events of a stream: the deltas joined are the text of the last event."""
    for delta in re.findall(r"\s*\S+(?:\s+$)?", transcript.text):
        yield _event({"type": "transcript.text.delta", "delta": delta})
    yield _event({"type": "transcript.text.done", "text": transcript.text})


def _event(data: dict[str, Any]) -> str:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"


def _segments(words: Sequence[Word]) -> list[dict[str, Any]]:
    segments = []
    for number, group in enumerate(subtitles.groups(words, subtitles.SEGMENT)):
        text = " ".join(word.text for word in group)
        data = text.encode()
        logs = [math.log(max(word.confidence, _MIN_CONFIDENCE)) for word in group]
        segments.append(
            {
                "id": number,
                "seek": 0,
                "start": group[0].start_s,
                "end": group[-1].end_s,
                # The segments' texts joined are the whole text.
                "text": f" {text}" if number else text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": round(sum(logs) / len(logs), 4),
                "compression_ratio": round(len(data) / len(zlib.compress(data)), 4),
                "no_speech_prob": 0.0,
            }
        )
    return segments


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration_s)}
