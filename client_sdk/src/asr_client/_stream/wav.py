"""The header of a WAV that may still be written, from a pipe or a file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from asr_client._types import Encoding

MAX_HEADER_BYTES = 1 << 20
_ENCODINGS: dict[tuple[int, int], Encoding] = {(1, 16): "pcm_s16le", (3, 32): "pcm_f32le"}
_EXTENSIBLE = 0xFFFE
_ENDLESS = 0x7FFFF000
"""Programs that write to a pipe state this size or more, or 0, since they know none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WavForm:
    """What follows the header."""

    encoding: Encoding
    sample_rate: int
    channels: int
    data_bytes: int | None
    """None means up to the end of the file."""


def read_header(read: Callable[[int], bytes]) -> WavForm:
    """Read up to the samples.

    Args:
        read: gives at most so many bytes, none at the end.

    Raises:
        ValueError: it is no WAV of 16-bit or float samples.
    """
    if _exactly(read, 4) not in (b"RIFF", b"RF64") or _exactly(read, 8)[4:] != b"WAVE":
        raise ValueError("no WAV file")
    form: tuple[Encoding, int, int] | None = None
    passed = 12
    while passed < MAX_HEADER_BYTES:
        name, size = struct.unpack("<4sI", _exactly(read, 8))
        passed += 8 + size
        if name == b"data":
            if form is None:
                raise ValueError("a WAV file without a format")
            known = None if size == 0 or size >= _ENDLESS else size
            return WavForm(
                encoding=form[0], sample_rate=form[1], channels=form[2], data_bytes=known
            )
        if passed > MAX_HEADER_BYTES:
            break
        chunk = _exactly(read, size + size % 2)
        if name == b"fmt ":
            form = _form(chunk)
    raise ValueError("a WAV file without samples in its first MiB")


def _form(chunk: bytes) -> tuple[Encoding, int, int]:
    if len(chunk) < 16:
        raise ValueError("a WAV file with a broken format")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    encoding = _ENCODINGS.get((kind, bits))
    if encoding is None or not channels or not rate:
        raise ValueError(f"a WAV file of format {kind} with {bits} bits, not 16 bits or floats")
    return encoding, rate, channels


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = read(count - len(data))
        if not more:
            raise ValueError("a WAV file that ends within its header")
        data += more
    return data
