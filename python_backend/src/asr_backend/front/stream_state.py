"""The text `state` of `transcribe_stream`: what a look leaves for the next one.

It is VERSION:POSITION:INDEX:REST. Every version of the service reads the first three: so a stream
keeps its times and indices when its next look meets another version, which starts the rest anew.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from asr_backend.errors import AsrError, ErrorCode
from asr_backend.segmentation.endpointer import EndpointerState
from asr_backend.segmentation.levels import HISTORY_FRAMES, frame_from

MAX_STATE_BYTES = 4096
VERSION = 1
MAX_WORDS = 700
"""Words of the last interim that are kept; more would not fit into MAX_STATE_BYTES."""
HASH_BYTES = 3

_STATE = re.compile(r"([1-9][0-9]{0,3}):([0-9]{1,15}):([0-9]{1,9}):([!-~]*)", re.ASCII)
# Checksum, decided frames behind the position, flags, threshold, number of levels.
_REST = struct.Struct(">IIBHH")
_OPEN, _UNSURE = 1, 2


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """What is known of a stream between two looks."""

    endpointer: EndpointerState = field(default_factory=EndpointerState)
    index: int = 0
    """Of the next segment."""
    words: tuple[bytes, ...] = ()
    """Hashes of the words of the open segment as the last look recognised them."""


def word_hashes(words: Sequence[str]) -> tuple[bytes, ...]:
    """Short hashes, by which the next look knows the words again."""
    return tuple(
        zlib.crc32(word.encode()).to_bytes(4, "big")[:HASH_BYTES] for word in words[:MAX_WORDS]
    )


def write_state(state: StreamState, rate_hz: int) -> str:
    """The state as text of at most MAX_STATE_BYTES ASCII characters."""
    points = state.endpointer
    head = f"{VERSION}:{points.position}:{state.index}:"
    body = _REST.pack(
        0,
        points.decided - frame_from(points.position, rate_hz),
        _OPEN * points.is_open + _UNSURE * points.is_unsure,
        points.threshold,
        len(points.history),
    )
    body = body[4:] + points.history + b"".join(state.words)
    rest = _checksum(head, body) + body
    return head + base64.urlsafe_b64encode(rest).decode().rstrip("=")


def read_state(text: str, rate_hz: int) -> StreamState:
    """The state of a text that a look returned.

    Raises:
        AsrError: BAD_OPTIONS if it is broken.
    """
    match = _STATE.fullmatch(text)
    if match is None:
        raise _broken()
    position, index = int(match[2]), int(match[3])
    if int(match[1]) != VERSION:
        return StreamState(endpointer=EndpointerState(position=position), index=index)
    try:
        rest = base64.b64decode(
            match[4] + "=" * (-len(match[4]) % 4), altchars=b"-_", validate=True
        )
        _, decided, flags, threshold, count = _REST.unpack_from(rest)
    except (binascii.Error, struct.error):
        raise _broken() from None
    history = rest[_REST.size : _REST.size + count]
    hashes = rest[_REST.size + count :]
    is_whole = len(history) == count <= HISTORY_FRAMES and len(hashes) % HASH_BYTES == 0
    if not is_whole or rest[:4] != _checksum(text[: match.start(4)], rest[4:]):
        raise _broken()
    return StreamState(
        endpointer=EndpointerState(
            position=position,
            decided=frame_from(position, rate_hz) + decided,
            is_open=bool(flags & _OPEN),
            is_unsure=bool(flags & _UNSURE),
            threshold=threshold,
            history=history,
        ),
        index=index,
        words=tuple(
            hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)
        ),
    )


def _checksum(head: str, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(head.encode())).to_bytes(4, "big")


def _broken() -> AsrError:
    return AsrError(
        ErrorCode.BAD_OPTIONS,
        "state is broken: send RESULT's `state` of the look before as it came, or none at the "
        "start of a stream",
    )
