"""Looks at live audio, as the model `transcribe_stream` answers them. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from asr_client._wire import STREAM_MODEL, bytes_tensor, messages
from asr_client.testing._model import Refused, spans

BLOCK_S = 0.02
LOUD = 0.01
"""Louder samples are speech; full scale is 1."""
WORD_S = 0.4
"""Seconds of an open segment for each word of its interim."""
MAX_LOOK_S = 60.0
_STATE = re.compile(r"([1-9][0-9]{0,3}):([0-9]{1,15}):([0-9]{1,9}):([!-~]*)", re.ASCII)

Text = Callable[[int, bytes], str]
"""The text of a segment, from its index and its PCM."""


def response(
    audio: bytes,
    *,
    given: Mapping[str, Any],
    text: Text,
    request_id: str,
    model: Mapping[str, str],
) -> Any:
    """A ModelInferResponse; raises Refused."""
    result = look(audio, given=given, text=text)
    result["model"] = dict(model)
    result["timing_ms"] = {"decode": 0.1, "acoustic": 0.1, "ctc": 0.1, "total": 0.3}
    answer = messages.ModelInferResponse(model_name=STREAM_MODEL, model_version="1", id=request_id)
    answer.outputs.add(name="RESULT", datatype="BYTES", shape=(1, 1))
    answer.raw_output_contents.append(bytes_tensor(json.dumps(result).encode()))
    return answer


def look(audio: bytes, *, given: Mapping[str, Any], text: Text) -> dict[str, Any]:
    """RESULT without the model: a segment is speech up to a pause, to its limit, or to the end."""
    rate, end = given["sample_rate"], given.get("end", False)
    position, index = _state(given.get("state"))
    levels, frame_bytes = _levels(audio, given)
    silence = given.get("endpoint_silence_s", 0.5) * rate
    longest = given.get("max_segment_s", 15) * rate
    segments: list[dict[str, Any]] = []
    place, begin, quiet = position, None, 0

    def pcm(first: int, until: int) -> bytes:
        return audio[(first - position) * frame_bytes : (until - position) * frame_bytes]

    def final(until: int, reason: str) -> None:
        words = text(index + len(segments), pcm(begin or 0, until))
        segments.append(_segment(index + len(segments), begin or 0, until, words, reason, given))

    for start, until in _blocks(position, position + len(levels), rate, end=end):
        loud = bool(levels[start - position : until - position].max() > LOUD)
        if begin is None and not loud:
            place = until
            continue
        if begin is None:
            begin, quiet = start, 0
        quiet = 0 if loud else quiet + until - start
        if quiet >= silence or until - begin >= longest:
            final(until, "pause" if quiet >= silence else "length")
            place, begin = until, None
    processed = position + len(levels)
    if begin is not None and end:
        final(processed, "end")
        place, begin = processed, None
    if begin is not None:
        place = begin
    result = {
        "contract": 1,
        "audio_processed_s": round(processed / rate, 3),
        "consumed_bytes": (place - position) * frame_bytes,
        "consumed_s": round(place / rate, 3),
        "state": f"1:{place}:{index + len(segments)}:",
        "segments": segments,
        "speech": begin is not None,
    }
    if begin is not None and given.get("interim", True):
        number = index + len(segments)
        words = text(number, pcm(begin, processed))
        result["interim"] = _interim(number, begin, processed, words, given)
    return result


def _state(text: str | None) -> tuple[int, int]:
    match = _STATE.fullmatch("1:0:0:" if text is None else text)
    if match is None:
        raise Refused("INVALID_ARGUMENT", "BAD_OPTIONS: state is broken")
    return int(match[2]), int(match[3])


def _levels(audio: bytes, given: Mapping[str, Any]) -> tuple[Any, int]:
    """The largest sample of each frame, and the bytes of a frame."""
    kind = np.dtype("<i2" if given["encoding"] == "pcm_s16le" else "<f4")
    samples = np.frombuffer(audio, kind).astype(np.float64).reshape(-1, given["channels"])
    if kind.kind == "i":
        samples = samples / 32768
    if len(samples) > MAX_LOOK_S * given["sample_rate"]:
        seconds = len(samples) / given["sample_rate"]
        raise Refused("INVALID_ARGUMENT", f"AUDIO_TOO_LONG: {seconds:.1f} s, the limit is 60 s")
    return np.abs(samples).max(axis=1), kind.itemsize * given["channels"]


def _blocks(first: int, until: int, rate: int, *, end: bool) -> Iterator[tuple[int, int]]:
    """Blocks that lie on a grid of the stream, so that looks see the same ones."""
    size = max(1, round(BLOCK_S * rate))
    while first < until:
        edge = (first // size + 1) * size
        if edge > until and not end:
            return
        yield first, min(edge, until)
        first = edge


def _segment(
    index: int, first: int, until: int, text: str, reason: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    rate, times = given["sample_rate"], given.get("timestamps", "word")
    start_s, end_s = first / rate, until / rate
    segment: dict[str, Any] = {
        "index": index,
        "is_final": True,
        "first_frame": first,
        "frames": until - first,
        "start_s": round(start_s, 3),
        "end_s": round(end_s, 3),
        "text": text,
        "confidence": 1.0,
        "reason": reason,
    }
    if times != "none":
        segment["words"] = _placed(r"\S+", text, start_s, end_s)
    if times == "char":
        segment["chars"] = _placed(r"\S", text, start_s, end_s)
    return segment


def _interim(
    index: int, first: int, until: int, text: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    rate = given["sample_rate"]
    start_s, end_s = first / rate, until / rate
    words = text.split()[: 1 + int((end_s - start_s) / WORD_S)]
    interim: dict[str, Any] = {
        "index": index,
        "is_final": False,
        "start_s": round(start_s, 3),
        "end_s": round(end_s, 3),
        "text": " ".join(words),
        "stable_text": " ".join(words[:-1]),
    }
    if given.get("timestamps", "word") != "none":
        placed = _placed(r"\S+", interim["text"], start_s, end_s)
        interim["words"] = [
            {**word, "stable": number < len(words) - 1} for number, word in enumerate(placed)
        ]
    return interim


def _placed(pattern: str, text: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
    return [
        {
            **span,
            "start_s": round(start_s + float(str(span["start_s"])), 3),
            "end_s": round(start_s + float(str(span["end_s"])), 3),
        }
        for span in spans(pattern, {None: text}, end_s - start_s)
    ]
