"""Finds the ID3 tags of mp3 and AAC files: each of several joined files begins with one.

libav takes a tag that is not at the start for frames, and a cover picture has bytes that look like
some. It finds no AAC behind a large tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEAD = re.compile(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", re.DOTALL)
_HEAD_BYTES = 10
_HAS_FOOTER = 0x10
# Searching holds the interpreter's lock.
_STEP = 2**20


def audio_parts(view: memoryview) -> list[tuple[int, int]]:
    """The parts of a file without its tags, as first byte and the byte after the last.

    A file of another kind than mp3 and AAC is one part.
    """
    first = 0
    while _HEAD.match(view, first):
        first = _after(view, first)
    if not _is_frame(view, first):
        return [(0, view.nbytes)]
    parts = []
    start = first
    for tag_start, tag_end in _tags(view, first):
        if tag_start > start:
            parts.append((start, tag_start))
        start = tag_end
    if start < view.nbytes:
        parts.append((start, view.nbytes))
    return parts


def _tags(view: memoryview, at: int) -> Iterator[tuple[int, int]]:
    """The tags that a frame, another tag or the end of the file follows."""
    while at < view.nbytes:
        limit = min(at + _STEP, view.nbytes)
        found = _HEAD.search(view, at, min(limit + _HEAD_BYTES - 1, view.nbytes))
        if found is None:
            at = limit
            continue
        start, end = found.start(), _after(view, found.start())
        is_tag = end == view.nbytes or _is_frame(view, end) or _HEAD.match(view, end)
        at = end if is_tag else start + 1
        if is_tag:
            yield start, end


def _after(view: memoryview, at: int) -> int:
    """The byte after the tag at this byte."""
    size = 0
    for byte in view[at + 6 : at + _HEAD_BYTES]:
        size = size << 7 | byte
    footer = _HEAD_BYTES if view[at + 5] & _HAS_FOOTER else 0
    return at + _HEAD_BYTES + size + footer


def _is_frame(view: memoryview, at: int) -> bool:
    """Whether the sync word of a frame is at this byte."""
    return at + 1 < view.nbytes and view[at] == 0xFF and view[at + 1] >= 0xE0
