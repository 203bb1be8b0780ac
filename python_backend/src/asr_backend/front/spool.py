"""A large recording's bytes, held in a file while it is in work."""

from __future__ import annotations

import mmap
import tempfile

from asr_backend.errors import AsrError, ErrorCode

SPOOL_BYTES = 2**20
"""Recordings of more bytes lie in a file; 32 s of 16-bit mono at 16 kHz are about as many."""


def spool(audio: bytes) -> mmap.mmap:
    """Write a recording to a file without a name in the temporary folder, and map it.

    The file goes with the map: when that is closed or nothing refers to it any more. Its pages are
    the system's to drop and to read again, unless the folder lies in memory itself.

    Raises:
        AsrError: OUT_OF_MEMORY where the folder has no room for it, or cannot be written to.
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
