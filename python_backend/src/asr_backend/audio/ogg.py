"""Checks the pages of Ogg files, and finds the streams that are chained in one.

libav reads a chain as one stream: it loses what follows a change of the sample rate, and the
timestamps start again at zero. Each link is therefore decoded as a file of its own. libav drops
pages without a word where their checksum or their number is wrong.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from asr_backend.errors import AsrError, ErrorCode

MAX_LINKS = 4096
"""Links of one chain; an internet radio starts one for each song."""

MAX_PAGES = 1_000_000
"""Pages of one file, of which each may have a packet of 20 ms."""
MAX_DAMAGED = 1_000
"""Damaged places that are passed over; what follows them is taken for one link."""

_MAGIC = b"OggS"
# Version, flags, position, stream, number, checksum, segments.
_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST, _LAST = 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(kw_only=True)
class Link:
    """One of the streams that are chained in a file, or a file of any kind as one."""

    start: int = 0
    end: int
    """Bytes of the file."""
    is_ogg: bool = False
    channels: int = 0
    """Of the link's first audio stream; 0 if it has none that is known."""
    has_end: bool = False
    """Whether a page is marked as the last of its stream."""
    damage: str = ""
    """The first damage in it; empty if there is none."""


@dataclass(frozen=True)
class _Page:
    flags: int
    stream: int
    number: int
    start: int
    end: int
    payload: int


def find_links(view: memoryview) -> list[Link]:
    """Read all pages of an Ogg file.

    Returns:
        The links in order; they cover the file.

    Raises:
        AsrError: CORRUPT_AUDIO for more than MAX_LINKS or MAX_PAGES.
    """
    links = [Link(end=view.nbytes, is_ogg=True)]
    numbers: dict[int, int] = {}
    is_header = True
    for page in _pages(view):
        if isinstance(page, str):
            _note(links[-1], page)
            continue
        if page.flags & _FIRST and not is_header:
            links[-1].end = page.start
            links.append(Link(start=page.start, end=view.nbytes, is_ogg=True))
            numbers = {}
            if len(links) > MAX_LINKS:
                raise AsrError(
                    ErrorCode.CORRUPT_AUDIO, f"more than {MAX_LINKS} streams are chained"
                )
        is_header = bool(page.flags & _FIRST)
        link = links[-1]
        if is_header and not link.channels:
            link.channels = _channels(bytes(view[page.payload : page.end]))
        link.has_end |= bool(page.flags & _LAST)
        expected = numbers.get(page.stream, page.number)
        if page.number != expected:
            _note(link, f"page {page.number} at byte {page.start} follows page {expected - 1}")
        if page.stream in numbers or len(numbers) < MAX_LINKS:
            numbers[page.stream] = page.number + 1
    return links


def _pages(view: memoryview) -> Iterator[_Page | str]:
    """Yield the pages, and a sentence for each damaged place between them."""
    at = pages = damaged = 0
    while at < view.nbytes and damaged < MAX_DAMAGED:
        page = _page(view, at)
        if page is not None:
            yield page
            at = page.end
            pages += 1
            if pages > MAX_PAGES:
                detail = f"an Ogg file of more than {MAX_PAGES} pages"
                raise AsrError(ErrorCode.CORRUPT_AUDIO, detail)
            continue
        following = _find_magic(view, at + 1)
        damaged += 1
        if following == view.nbytes:
            yield f"the page at byte {at} is incomplete"
        else:
            yield f"bytes {at} to {following} are no valid page"
        at = following


def _note(link: Link, damage: str) -> None:
    link.damage = link.damage or damage


def _page(view: memoryview, at: int) -> _Page | None:
    """The page at this byte, None if there is none or if its checksum is wrong."""
    if at + _HEADER.size > view.nbytes:
        return None
    magic, _, flags, _, stream, number, checksum, segments = _HEADER.unpack_from(view, at)
    payload = at + _HEADER.size + segments
    if magic != _MAGIC or payload > view.nbytes:
        return None
    end = payload + sum(view[at + _HEADER.size : payload])
    if end > view.nbytes:
        return None
    page = bytearray(view[at:end])
    page[22:26] = bytes(4)
    if _checksum(page) != checksum:
        return None
    return _Page(flags, stream, number, at, end, payload)


def _checksum(page: bytearray) -> int:
    """Ogg's checksum is CRC-32 with the bits in the other order, without inversions."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def _find_magic(view: memoryview, start: int) -> int:
    """The byte of the next page, or the end of the file."""
    step = 2**16
    for at in range(start, view.nbytes, step):
        found = bytes(view[at : at + step + len(_MAGIC) - 1]).find(_MAGIC)
        if found >= 0:
            return at + found
    return view.nbytes


def _channels(packet: bytes) -> int:
    """The number of channels that the first packet of a stream states; 0 if it is not known."""
    if packet.startswith(b"\x01vorbis") and len(packet) > 11:
        return packet[11]
    if packet.startswith(b"OpusHead") and len(packet) > 9:
        return packet[9]
    # The mapping's header, "fLaC", a block header, then STREAMINFO.
    if packet.startswith(b"\x7fFLAC") and len(packet) > 29:
        return (packet[29] >> 1 & 7) + 1
    return 0
