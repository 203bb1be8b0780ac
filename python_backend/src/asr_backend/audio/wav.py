"""Reads plain WAV files without libav: their samples are raw PCM.

Most short recordings are such files. libav takes a millisecond to open and read one, which is more
than all other work of a front for it.
"""

from __future__ import annotations

import struct

from asr_backend.audio.format import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, PcmFormat
from asr_backend.audio.lengths import chunks_after

# RIFF, size, WAVE, fmt, its size, format, channels, rate, bytes a second, bytes a frame, bits.
_HEADER = struct.Struct("<4sI4s4sIHHIIHH")
_CHUNK = struct.Struct("<4sI")


def as_pcm(view: memoryview) -> tuple[memoryview, PcmFormat] | None:
    """Find the samples of a plain WAV file, and the format that its header states.

    A plain file is complete 16-bit mono PCM. Files of several channels are left to libav: they may
    hold another codec in disguise, which libav looks for.

    Args:
        view: a whole file of any kind; not copied.

    Returns:
        None for any other file, broken ones included: libav reads or refuses them.
    """
    if view.nbytes < _HEADER.size:
        return None
    riff, _, wave, name, size, *layout = _HEADER.unpack_from(view)
    rate_hz = layout[2]
    plain = [1, 1, rate_hz, 2 * rate_hz, 2, 16]
    if (riff, wave, name, size) != (b"RIFF", b"WAVE", b"fmt ", 16) or layout != plain:
        return None
    position = _HEADER.size
    while name != b"data":
        if position + _CHUNK.size > view.nbytes:
            return None
        name, size = _CHUNK.unpack_from(view, position)
        start = position + _CHUNK.size
        position = start + size + size % 2
    whole = 0 < size <= view.nbytes - start and size % 2 == 0 and chunks_after(view, start + size)
    if not whole or not MIN_SAMPLE_RATE_HZ <= rate_hz <= MAX_SAMPLE_RATE_HZ:
        return None
    format = PcmFormat(encoding="pcm_s16le", sample_rate_hz=rate_hz, channels=1)
    return view[start : start + size], format
