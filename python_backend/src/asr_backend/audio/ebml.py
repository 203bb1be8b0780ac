"""Checks the length and the checksums of Matroska and WebM files, which libav ignores."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

MAX_ELEMENTS = 100_000
"""More elements are not checked; a file of two hours has some thousand clusters."""
MAX_BLOCKS = 1_000_000
"""The same for files of unknown length, in which each block is read: of 20 ms, for five hours."""
MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"
_CRC_32 = b"\xbf\x84"
_CRC_BYTES = 6
_HEADER_BYTES = 12


@dataclass(frozen=True)
class _Element:
    id: bytes
    start: int
    """The first byte of its contents."""
    end: int | None
    """None if the length is not known."""


def segment_bytes(view: memoryview) -> tuple[int, int] | None:
    """The stated number of bytes of a file's segment, and how many of them are there.

    Returns:
        None if the file states none.
    """
    segment = _segment(view)
    if segment is None or segment.end is None:
        return None
    stated = segment.end - segment.start
    return stated, min(stated, view.nbytes - segment.start)


def breaks_off(view: memoryview) -> bool:
    """Whether the last element of a file of unknown length, such as a browser's, is incomplete."""
    segment = _segment(view) if bytes(view[:4]) == MAGIC else None
    if segment is None or segment.end is not None:
        return False
    at = segment.start
    for _ in range(MAX_BLOCKS):
        element = _element(view, at)
        if element is None:
            # A part of a header, or what is no element.
            return 0 < view.nbytes - at < _HEADER_BYTES
        if element.end is None:
            # A live cluster has no length either; its blocks follow.
            if element.id != _CLUSTER:
                return False
            at = element.start
        elif element.end > view.nbytes:
            return True
        else:
            at = element.end
    return False


def damaged_cluster(view: memoryview) -> int | None:
    """The byte of the first complete cluster whose checksum is wrong; None if there is none."""
    segment = _segment(view) if bytes(view[:4]) == MAGIC else None
    at = view.nbytes if segment is None else segment.start
    for _ in range(MAX_ELEMENTS):
        element = _element(view, at)
        if element is None or element.end is None or element.end > view.nbytes:
            break
        head = bytes(view[element.start : element.start + _CRC_BYTES])
        if element.id == _CLUSTER and head[:2] == _CRC_32:
            found = zlib.crc32(view[element.start + _CRC_BYTES : element.end])
            if found.to_bytes(4, "little") != head[2:]:
                return at
        at = element.end
    return None


def _segment(view: memoryview) -> _Element | None:
    header = _element(view, 0)
    if header is None or header.end is None:
        return None
    segment = _element(view, header.end)
    return segment if segment is not None and segment.id == _SEGMENT else None


def _element(view: memoryview, at: int) -> _Element | None:
    """The element at this byte; None if there is none."""
    head = bytes(view[at : at + _HEADER_BYTES])
    id_bytes = _width(head[:1])
    size_bytes = _width(head[id_bytes : id_bytes + 1])
    start = id_bytes + size_bytes
    if not 1 <= id_bytes <= 4 or not size_bytes or len(head) < start:
        return None
    size = int.from_bytes(head[id_bytes:start], "big") & ((1 << 7 * size_bytes) - 1)
    is_unknown = size == (1 << 7 * size_bytes) - 1
    return _Element(head[:id_bytes], at + start, None if is_unknown else at + start + size)


def _width(first: bytes) -> int:
    """Bytes of a number that begins with this byte, by its leading zeros; 0 if it is none."""
    return 9 - first[0].bit_length() if first and first[0] else 0
