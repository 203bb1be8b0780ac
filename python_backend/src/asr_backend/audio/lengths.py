"""Compares the lengths that file headers state with the bytes that are there.

libav takes a truncated file for a whole one if the header has the length in bytes, and ignores what
lies behind a length that is too small.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from asr_backend.audio import ebml

_MIN_PLACEHOLDER = 0x7F000000
"""Programs that write into a pipe state 0, or the maximum of a 31-bit or 32-bit number, rounded
down a little."""
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_IS_BROADCAST = 1
_ASF_HEADER_BYTES = 2**16
_RF64_HEADER_BYTES = 2**16
_MP3_HEADER_BYTES = 256
_MP3_HEADERS = (b"Xing", b"Info", b"VBRI")
# Chunks that are a file of their own, behind the first.
_WHOLE_FILES = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b"caff", b"ftyp")
_MAX_CHUNKS = 10_000


@dataclass(frozen=True, kw_only=True)
class StatedBytes:
    """The length of the audio in bytes."""

    stated: int
    """As the header states it."""
    present: int
    """Of these, the ones that are in the file."""
    unread: int
    """Bytes after the stated end that are neither zero nor chunks of the format."""


@dataclass(frozen=True)
class _Chunks:
    """How a format of chunks writes their headers."""

    first: int
    """The byte of the first chunk's header."""
    names: tuple[bytes, ...]
    """The chunk with the audio."""
    header: struct.Struct
    """Name and size."""
    in_size: int = 0
    """Bytes of the header that the size counts."""
    align: int = 1
    """A chunk starts at a multiple of this many bytes from the first one."""


_RIFF = _Chunks(12, (b"data",), struct.Struct("<4sI"), align=2)
_AIFF = _Chunks(12, (b"SSND",), struct.Struct(">4sI"), align=2)
_CAF = _Chunks(8, (b"data",), struct.Struct(">4sQ"))
_W64 = _Chunks(40, (_W64_DATA,), struct.Struct("<16sQ"), in_size=24, align=8)


def stated_bytes(view: memoryview) -> StatedBytes | None:
    """Find the length of a file's audio.

    Returns:
        None if the format states no length in bytes, and if a program did not know it when it
        wrote the header.
    """
    head = bytes(view[:16])
    if head[:4] == b"RIFF":
        return _in_chunks(view, _RIFF)
    if head[:4] == b"RF64":
        return _rf64(view)
    if head[:4] == b"FORM":
        return _in_chunks(view, _AIFF)
    if head[:4] == b"caff":
        return _in_chunks(view, _CAF)
    if head[:4] == b"riff":
        return _in_chunks(view, _W64)
    if head[:4] == b".snd":
        start, size = struct.unpack_from(">II", head, 4)
        return _compared(view, start, size, unread=_rest(view, start + size))
    if head == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"):
        return _asf(view)
    if head[4:8] == b"ftyp":
        return _mov(view)
    if head[:4] == ebml.MAGIC and (counts := ebml.segment_bytes(view)) is not None:
        return StatedBytes(stated=counts[0], present=counts[1], unread=0)
    return None


def chunks_after(view: memoryview, start: int) -> bool:
    """Whether only chunks of a WAV file, or zeros, follow from this byte on."""
    return not _unread(view, start, _RIFF)


def states_frames(view: memoryview) -> bool:
    """Whether an mp3 file has a header with the number of its frames, and is not several files."""
    header = _mp3_header(view)
    name, flags, _, size = struct.unpack_from(">4sIII", header.ljust(16, b"\0"))
    has_frames, has_size = flags & 1, flags & 2
    if name == b"VBRI" or not has_frames:
        return bool(name == b"VBRI")
    # libav's threshold.
    return bool(not has_size or view.nbytes <= size + size // 16)


def _mp3_header(view: memoryview) -> bytes:
    """The header with the number of frames in the first frame of an mp3 file; empty without one."""
    start = _after_tag(view)
    first = bytes(view[start : start + _MP3_HEADER_BYTES])
    found = [at for name in _MP3_HEADERS if (at := first.find(name)) >= 0]
    return first[min(found) :] if found else b""


def frames_start(view: memoryview) -> int | None:
    """The first byte of the audio of mp3 or AAC; None if a header of unknown length is first."""
    return None if _mp3_header(view) else _after_tag(view)


def _after_tag(view: memoryview) -> int:
    head = bytes(view[:10])
    size = 0
    if head[:3] == b"ID3" and len(head) == 10:
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        size += 10
    return size


def _rf64(view: memoryview) -> StatedBytes | None:
    """The size of a long WAV file's audio is in its first chunk."""
    first = bytes(view[12:36])
    at = bytes(view[:_RF64_HEADER_BYTES]).find(b"data\xff\xff\xff\xff")
    if first[:4] != b"ds64" or len(first) < 24 or at < 0:
        return None
    (size,) = struct.unpack_from("<Q", first, 16)
    return _compared(view, at + 8, size, unread=_unread(view, at + 8 + size, _RIFF))


def _in_chunks(view: memoryview, chunks: _Chunks) -> StatedBytes | None:
    header = chunks.header
    at = chunks.first
    for _ in range(_MAX_CHUNKS):
        if at + header.size > view.nbytes:
            break
        name, size = header.unpack_from(view, at)
        start = at + header.size
        size -= chunks.in_size
        end = start + size
        if size < 0:
            return None
        if name in chunks.names:
            return _compared(view, start, size, unread=_unread(view, end, chunks))
        at = _aligned(end, chunks)
    return None


def _aligned(end: int, chunks: _Chunks) -> int:
    return end + -(end - chunks.first) % chunks.align


def _compared(view: memoryview, start: int, size: int, *, unread: int) -> StatedBytes | None:
    present = max(0, min(size, view.nbytes - start))
    if not size or (present < size and size >= _MIN_PLACEHOLDER):
        return None
    return StatedBytes(stated=size, present=present, unread=unread)


def _unread(view: memoryview, end: int, chunks: _Chunks) -> int:
    """Bytes from the end of the audio on, 0 if all of them are chunks."""
    # Some programs forget the byte that fills a chunk up.
    return min(
        _rest(view, _end_of_chunks(view, start, chunks)) for start in {end, _aligned(end, chunks)}
    )


def _end_of_chunks(view: memoryview, at: int, chunks: _Chunks) -> int:
    """The byte at which the run of valid chunks from this byte on ends."""
    header = chunks.header
    for _ in range(_MAX_CHUNKS):
        if at + header.size > view.nbytes:
            break
        name, size = header.unpack_from(view, at)
        end = at + header.size + size - chunks.in_size
        is_name = _is_name(name[:4]) and name[:4] not in _WHOLE_FILES
        # A second chunk with audio is lost: libav reads one of them.
        if not is_name or name in chunks.names or size < chunks.in_size or end > view.nbytes:
            break
        at = _aligned(end, chunks)
    return at


def _rest(view: memoryview, start: int) -> int:
    """Bytes from here to the last one that is not zero."""
    end = view.nbytes
    while end > start:
        part = bytes(view[max(start, end - 2**16) : end])
        kept = len(part.rstrip(b"\0"))
        if kept:
            return end - len(part) + kept - start
        end -= len(part)
    return 0


def _asf(view: memoryview) -> StatedBytes | None:
    head = bytes(view[:_ASF_HEADER_BYTES])
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or at + 92 > len(head):
        return None
    (size,) = struct.unpack_from("<Q", head, at + 40)
    (flags,) = struct.unpack_from("<I", head, at + 88)
    if not size or flags & _ASF_IS_BROADCAST:
        return None
    return StatedBytes(stated=size, present=min(size, view.nbytes), unread=0)


def _mov(view: memoryview) -> StatedBytes | None:
    """All of the file: its last box may state more bytes than there are."""
    at = 0
    for _ in range(_MAX_CHUNKS):
        head = bytes(view[at : at + 16])
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if len(head) < 8 or not _is_name(name) or (at and name in _WHOLE_FILES):
            break
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < 8:
            # 0 is for a box up to the end of the file.
            return None
        at += size
    return StatedBytes(stated=at, present=min(at, view.nbytes), unread=_rest(view, at))


def _is_name(name: bytes) -> bool:
    """Whether this may be the name of a chunk: four letters, of which the first may be a sign."""
    return all(32 <= letter < 127 for letter in name[1:])
