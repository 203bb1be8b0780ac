"""Keeps the bytes of a large recording in a file while it is transcribed."""

from __future__ import annotations

import mmap
import tempfile

from asr_backend.errors import AsrError, ErrorCode

SPOOL_BYTES = 2**20
"""A larger recording is kept in a file. This is about 32 s of 16-bit mono at 16 kHz."""


def spool(audio: bytes) -> mmap.mmap:
    """Write a recording to a file without a name in the temporary folder, and map it.

    The file is deleted with the map: when the map is closed, or when nothing refers to it. The
    system may drop its pages and read them again, unless the folder is itself in memory.

    Raises:
        AsrError: OUT_OF_MEMORY if the folder is full or cannot be written to.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(audio)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise AsrError(
            ErrorCode.OUT_OF_MEMORY,
            f"the server cannot put {len(audio)} bytes of audio aside: {error.strerror}",
        ) from error
