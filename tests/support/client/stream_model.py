"""A small server of live audio for tests: each frame is one byte pair, and silence is zero."""

from __future__ import annotations

import zlib
from typing import Any

RATE_HZ = 1000
PAUSE = 200
LONGEST = 3000
MODEL = {"id": "small", "revision": "1"}
TIMES = {"decode": 0.0, "acoustic": 0.0, "ctc": 0.0, "total": 0.0}


def answer(
    audio: bytes, state: str | None, *, end: bool, interim: bool, stops: bool = False
) -> dict[str, Any]:
    """RESULT of a look at 16-bit PCM of one channel at RATE_HZ.

    A segment is what lies between pauses of PAUSE frames, cut at LONGEST frames. `stops` lets the
    look stop behind its first final.
    """
    _, position, index, *_ = (state or "1:0:0:").split(":")
    place, number = int(position), int(index)
    first = place
    frames = [audio[at : at + 2] for at in range(0, len(audio), 2)]
    segments: list[dict[str, Any]] = []
    begin: int | None = None
    quiet = 0
    processed = first + len(frames)
    for offset, frame in enumerate(frames):
        here = first + offset
        silent = frame == b"\0\0"
        if begin is None and silent:
            place = here + 1
            continue
        if begin is None:
            begin, quiet = here, 0
        quiet = quiet + 1 if silent else 0
        if quiet < PAUSE and here + 1 - begin < LONGEST:
            continue
        reason = "pause" if quiet >= PAUSE else "length"
        segments.append(segment(audio, first, begin, here + 1, number, reason))
        place, begin, number = here + 1, None, number + 1
        if stops and not end:
            processed = place
            break
    if begin is not None and end:
        segments.append(segment(audio, first, begin, first + len(frames), number, "end"))
        place, begin, number = first + len(frames), None, number + 1
    if begin is not None:
        place = begin
    result: dict[str, Any] = {
        "contract": 1,
        "audio_processed_s": round(processed / RATE_HZ, 3),
        "consumed_bytes": 2 * (place - first),
        "consumed_s": round(place / RATE_HZ, 3),
        "state": f"1:{place}:{number}:",
        "segments": segments,
        "speech": begin is not None,
        "model": MODEL,
        "timing_ms": TIMES,
    }
    if begin is not None and interim:
        times = {"start_s": begin / RATE_HZ, "end_s": processed / RATE_HZ}
        words = {"text": "so far", "stable_text": "so", "words": []}
        result["interim"] = {"index": number, "is_final": False, **times, **words}
    return result


def segment(
    audio: bytes, first: int, begin: int, until: int, index: int, reason: str
) -> dict[str, Any]:
    """A final whose text is a checksum of its frames."""
    text = f"{zlib.crc32(audio[2 * (begin - first) : 2 * (until - first)]):08x}"
    return {
        "index": index,
        "is_final": True,
        "first_frame": begin,
        "frames": until - begin,
        "start_s": begin / RATE_HZ,
        "end_s": until / RATE_HZ,
        "text": text,
        "confidence": 1.0,
        "reason": reason,
    }
